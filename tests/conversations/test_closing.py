"""Thanks and goodbye, in five languages, and what only looks like them."""

from __future__ import annotations

import pytest

from convoq.conversations.closing import closing_in


@pytest.mark.parametrize(
    "text",
    [
        *("thanks", "Thank you so much!", "thx 🙏", "many thanks for your help", "Cheers!"),
        *("gracias", "¡Muchas gracias por todo!", "mil gracias, buenas noches"),
        *("obrigado", "Muito obrigada pela ajuda 😊", "valeu!", "obrigado, boa noite"),
        *("merci", "Merci beaucoup pour votre aide !", "je vous remercie"),
        *("danke", "Vielen Dank für die Hilfe", "Dankeschön!!"),
    ],
)
def test_nothing_but_thanks_is_thanks(text: str) -> None:
    assert closing_in(text) == (False, False)


@pytest.mark.parametrize(
    "text",
    [
        *("bye", "Thanks, bye!", "that's all, thank you", "Goodbye and have a nice day"),
        *("adiós", "eso es todo, gracias", "Hasta luego"),
        *("tchau", "é só isso, obrigado", "Isso é tudo. Até logo!"),
        *("au revoir", "C'est tout, merci", "Merci et bonne journée"),
        *("tschüss", "Tschüß!", "das war's, danke", "Auf Wiedersehen", "Danke, schönen Tag noch"),
    ],
)
def test_a_goodbye_is_one_also_with_thanks(text: str) -> None:
    assert closing_in(text) == (True, False)


@pytest.mark.parametrize(
    "text", ["ok thanks", "perfecto, gracias", "ta bom, obrigado", "d'accord merci", "ok, tschüss"]
)
def test_an_assent_beside_it_is_told(text: str) -> None:
    closing = closing_in(text)
    assert closing is not None
    assert closing.assents


@pytest.mark.parametrize(
    "text",
    [
        *("", "🙏", "ok", "great", "a lot", "boa noite", "buenas noches", "good night", "hello"),
        *("obrigado, mas e o boleto?", "obrigado mas e o boleto", "thanks but where is it", "thanks?"),
        *("no thanks", "não, obrigado", "yes thanks", "thank you for the invoice, it is wrong", "bye the way"),
        *("gracias pero no llegó", "merci de me rappeler", "danke, aber", "thanks in advance", "see you at 5"),
        *("that is all wrong", "nothing else works", "é só isso que quero saber: abre hoje", "merci de confirmer"),
        "thanks " * 30,
    ],
)
def test_what_says_anything_else_is_neither(text: str) -> None:
    assert closing_in(text) is None
