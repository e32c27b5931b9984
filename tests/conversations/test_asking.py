"""The whole message asks for a human being, or it is not such a request."""

from __future__ import annotations

import pytest

from convoq.conversations.asking import PHRASES, asks_for_person

ASKS = {
    "en": ("human", "Agent!", "I want to talk to a person", "Can I speak to someone, please?", "HUMAN PLEASE",
           "I'd like to speak with a representative.", "hi, talk to a human", "not a bot"),
    "es": ("Humano", "Quiero hablar con una persona", "¿Puedo hablar con un asesor, por favor?", "agente",
           "Hola, necesito hablar con alguien", "Páseme con un agente"),
    "pt": ("atendente", "Quero falar com uma pessoa", "Olá, gostaria de falar com um atendente humano, por favor",
           "Posso falar com alguém?", "falar com atendente humano"),
    "fr": ("Je veux parler à quelqu'un", "Bonjour, je voudrais parler à un conseiller s'il vous plaît", "un humain",
           "Puis-je parler à une personne ?", "service client"),
    "de": ("Mensch", "Ich möchte mit einem Menschen sprechen", "Kann ich bitte mit einem Mitarbeiter reden?",
           "Mitarbeiter bitte", "ich will mit jemandem sprechen"),
}  # fmt: skip
ASKS_NOT = (
    "", "hello", "thanks", "I am a human", "Are you a human?", "is this a bot?", "my agent said yes",
    "I want to talk to a person about my invoice", "a person came by yesterday", "obrigado, mas e o boleto?",
    "Ich bin ein Mensch", "el agente no vino", "je suis une personne agee", "quero pizza", "help", "someone stole it",
    "human " * 30,
)  # fmt: skip


@pytest.mark.parametrize(("language", "text"), [(language, text) for language in ASKS for text in ASKS[language]])
def test_who_asks_is_understood_in_that_language(language: str, text: str) -> None:
    assert asks_for_person(text) is not None
    assert asks_for_person(text) == language or text.lower().strip("!") in ("agent", "agente", "humano")


@pytest.mark.parametrize("text", ASKS_NOT)
def test_what_says_anything_else_is_no_such_request(text: str) -> None:
    assert asks_for_person(text) is None


def test_there_are_five_languages() -> None:
    assert set(PHRASES) == {"en", "es", "pt", "fr", "de"}
