"""A message that says nothing but that the person wants to speak to a human being, in five languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple


class Phrases(NamedTuple):
    """Each object after each verb; `alone` stands for itself. Without accents, apostrophes and capitals."""

    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    alone: tuple[str, ...]
    polite: tuple[str, ...]  #: may stand anywhere


PHRASES: Final[Mapping[str, Phrases]] = {
    "en": Phrases(
        verbs=(
            *(
                f"{want} {speak}".strip()
                for want in (
                    "i want to", "i need to", "i would like to", "id like to", "i prefer to", "i wanna", "can i",
                    "could i", "may i", "let me", "",
                )
                for speak in ("talk to", "talk with", "speak to", "speak with", "chat with", "write to")
            ),
            "i want", "i need", "give me", "get me", "connect me to", "transfer me to", "put me through to",
        ),
        objects=(
            "a human", "a human being", "a person", "a real person", "a real human", "an agent", "a human agent",
            "a live agent", "an operator", "a representative", "someone", "somebody", "someone real", "a colleague",
            "an employee", "customer service", "customer support", "the team",
            "your team", "a manager", "the manager", "the owner", "staff",
        ),
        alone=(
            "human", "a human", "human being", "agent", "human agent", "live agent", "operator", "representative",
            "real person", "a real person", "a person", "customer service", "no bot", "not a bot", "no robot",
        ),
        polite=("please", "pls", "hi", "hello", "hey", "now"),
    ),
    "es": Phrases(
        verbs=(
            "quiero hablar con", "quisiera hablar con", "necesito hablar con", "me gustaria hablar con",
            "puedo hablar con", "podria hablar con", "hablar con", "quiero", "necesito", "paseme con", "pasame con",
            "comuniqueme con", "comunicame con", "prefiero hablar con", "deseo hablar con",
        ),
        objects=(
            "una persona", "un humano", "una persona real", "un agente", "agente", "un agente humano",
            "un asesor", "una asesora",
            "un operador", "una operadora", "un representante", "alguien", "alguien real", "un ser humano",
            "un empleado", "un encargado", "el encargado", "atencion al cliente", "el equipo", "el dueno",
        ),
        alone=(
            "humano", "un humano", "agente", "asesor", "operador", "operadora", "persona real", "una persona",
            "una persona real", "atencion al cliente", "agente humano",
        ),
        polite=("por favor", "porfavor", "porfa", "hola", "buenas", "buenos dias", "ya"),
    ),
    "pt": Phrases(
        verbs=(
            "quero falar com", "queria falar com", "gostaria de falar com", "preciso falar com", "preciso de falar com",
            "posso falar com", "poderia falar com", "falar com", "quero", "preciso de", "me passa para",
            "passe me para", "prefiro falar com", "me transfere para",
        ),
        objects=(
            "uma pessoa", "um humano", "uma pessoa real", "uma pessoa de verdade", "um atendente", "uma atendente",
            "um atendente humano", "atendente humano", "atendente", "um agente", "um operador",
            "um assistente humano", "alguem", "alguem de verdade",
            "um ser humano", "um colega", "um responsavel", "o responsavel", "o gerente", "a equipa", "a equipe",
            "atendimento humano", "o apoio ao cliente", "o suporte",
        ),
        alone=(
            "humano", "um humano", "atendente", "atendente humano", "atendimento humano", "operador", "pessoa real",
            "uma pessoa", "uma pessoa real", "apoio ao cliente",
        ),
        polite=("por favor", "pf", "pfv", "ola", "oi", "bom dia", "boa tarde", "ja"),
    ),
    "fr": Phrases(
        verbs=(
            "je veux parler a", "je veux parler avec", "je voudrais parler a", "je voudrais parler avec",
            "jaimerais parler a", "jaimerais parler avec", "je souhaite parler a", "je souhaite parler avec",
            "puis je parler a", "puis je parler avec", "est ce que je peux parler a", "je peux parler a",
            "je peux parler avec", "parler a", "parler avec", "je veux", "passez moi", "je prefere parler a",
        ),
        objects=(
            "un humain", "une personne", "une vraie personne", "une personne reelle", "un conseiller",
            "une conseillere", "un agent", "un operateur", "quelquun", "un etre humain", "un collegue", "un employe",
            "un responsable", "le responsable", "le service client", "lequipe", "votre equipe",
        ),
        alone=(
            "humain", "un humain", "conseiller", "un conseiller", "agent", "operateur", "service client",
            "une personne", "une vraie personne", "une personne reelle",
        ),
        polite=("sil vous plait", "sil te plait", "svp", "stp", "bonjour", "salut", "bonsoir"),
    ),
    "de": Phrases(
        verbs=(
            "ich mochte mit", "ich moechte mit", "ich will mit", "ich wurde gerne mit", "ich wuerde gerne mit",
            "ich wurde gern mit", "ich wuerde gern mit", "kann ich mit", "konnte ich mit", "koennte ich mit",
            "darf ich mit", "ich muss mit", "mit",
        ),
        objects=tuple(
            f"{who} {speak}"
            for who in (
                "einem menschen", "einer person", "einem mitarbeiter", "einer mitarbeiterin", "einem echten menschen",
                "einer echten person", "jemandem", "jemand", "jemand echtem", "einem berater", "einer beraterin",
                "dem chef", "der chefin", "dem team", "einem kollegen", "einer kollegin", "dem kundendienst",
                "dem kundenservice", "einem agenten",
            )
            for speak in ("sprechen", "reden", "schreiben", "chatten", "verbunden werden")
        ),
        alone=(
            "mensch", "ein mensch", "einen menschen", "mitarbeiter", "ein mitarbeiter",
            "einen mitarbeiter", "echter mensch", "echte person", "eine person", "kundendienst", "kundenservice",
            "verbinden sie mich mit einem menschen", "verbinden sie mich mit einem mitarbeiter",
            "ich mochte einen menschen", "ich will einen menschen", "ich brauche einen menschen",
        ),
        polite=("bitte", "hallo", "guten tag", "moin", "hi", "jetzt"),
    ),
}  # fmt: skip

LONGEST: Final = 120  #: characters: what is longer says something besides
_APOSTROPHES: Final = re.compile(r"['’`´]")
_WORD: Final = re.compile(r"[^\W_]+")


def asks_for_person(text: str) -> str | None:
    """The language, where the whole message asks for a human being; None where it says anything else."""
    if len(text) > LONGEST:
        return None
    words = plain_words(text)
    return next((language for language in PHRASES if _without_polite(words, language) in _KNOWN[language]), None)


def plain_words(text: str) -> str:
    """The words of a text, without accents, apostrophes, capitals, signs and pictures."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(_WORD.findall(_APOSTROPHES.sub("", letters)))


def _without_polite(words: str, language: str) -> str:
    return " ".join(_POLITE[language].sub("", words).split())


def _all(phrases: Phrases) -> Iterator[str]:
    yield from phrases.alone
    for verb, what in product(phrases.verbs, phrases.objects):
        yield f"{verb} {what}".strip()


_POLITE: Final = {language: re.compile(rf"\b(?:{'|'.join(phrases.polite)})\b") for language, phrases in PHRASES.items()}
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(_all(phrases)) for language, phrases in PHRASES.items()
}
