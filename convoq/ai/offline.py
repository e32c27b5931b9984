"""The responder that needs no model: plain rules that keep the demo real and say that they are a demo."""

from __future__ import annotations

import re
from typing import Final

from convoq.ai.base import Author, Reply, ReplyContext
from convoq.ai.context import pick_lines
from convoq.errors import Unrecoverable
from convoq.notes import described

MODEL: Final = "offline"

NOTICE: Final = "(Demo reply by fixed rules: no AI model is set up.)"

LONGEST_ECHO: Final = 80

# What Markdown would take for its own, but in a URL, which keeps its characters.
_MARKS: Final = re.compile(r"(\w*://\S+)|([\\`*_~\[\]<&])")

# The first rule that matches a message answers it; the order puts what people mean most clearly first.
RULES: Final = tuple(
    (re.compile(rf"\b(?:{words})", re.IGNORECASE), answer)
    for words, answer in (
        (
            r"human|person\b|agent|operator|somebody|someone|colleague|humano|persona\b|mensch|mitarbeiter|humain",
            "I would pass you on to a colleague now.",
        ),
        (
            r"open(?!ai)|hours|close[sd]?\b|closing|horario|abiert|abrem|öffnungszeit|geöffnet|horaire|ouvert",
            "Our example shop is open Monday to Friday, 9:00 to 18:00.",
        ),
        (
            r"price|cost|how much|fee\b|precio|cuánto|cuanto|preço|quanto|preis|kostet|prix|combien",
            "Our example price is 20 a month, and the first month is free.",
        ),
        (
            r"order|delivery|deliver|shipping|package|pedido|entrega|bestellung|lieferung|commande|livraison",
            "Your example order is on its way and arrives tomorrow.",
        ),
        (
            r"where|address|location|dirección|direccion|endereço|dónde|adresse|wo seid|où",
            "Our example shop is at 1 Main Street.",
        ),
        (r"thank|thx|gracias|obrigad|danke|merci", "You are welcome!"),
        (r"bye|goodbye|adiós|adios|tchau|tschüss|au revoir", "Goodbye!"),
        (r"hi\b|hello|hey\b|good (?:morning|afternoon|evening)|hola|olá|oi\b|hallo|bonjour|salut", "Hello!"),
    )
)

OTHERWISE: Final = "I took note of it."


class OfflineResponder:
    """Answers by fixed rules: no key, no network, the same text for the same conversation."""

    async def warm(self) -> None:
        pass

    async def reply(self, context: ReplyContext) -> Reply:
        pending = pick_lines(context.lines, budget=4000).pending
        messages = [described(line.notes, line.text) for line in pending if line.author is Author.CONTACT]
        if not messages:
            raise Unrecoverable("there is no message to answer")
        answers = [f"You wrote “{_echo(text)}”. {answer_to(text)}" for text in messages]
        if len(answers) > 1:
            # An empty line ends the list: the notice belongs to none of its items.
            answers = [*(f"{number}. {answer}" for number, answer in enumerate(answers, 1)), ""]
        return Reply("\n".join([_opening(context, len(messages)), *answers, NOTICE]), MODEL)

    async def close(self) -> None:
        pass


def _opening(context: ReplyContext, count: int) -> str:
    name = " ".join((context.contact_name or "").split())
    met = any(line.author is Author.AI for line in context.lines)
    greeting = ("Thanks" if met else "Hi") + (f" {name}" if name else "")
    return f"{greeting}! I read your {count} messages." if count > 1 else f"{greeting}!"


def answer_to(text: str) -> str:
    """The fixed answer to one message."""
    return next((answer for pattern, answer in RULES if pattern.search(text)), OTHERWISE)


def _echo(text: str) -> str:
    """The text as it was typed, also in a reply that is Markdown: its characters are escaped."""
    line = " ".join(text.split())
    echo = line if len(line) <= LONGEST_ECHO else line[: LONGEST_ECHO - 1].rstrip() + "…"
    return _MARKS.sub(lambda found: found[1] or f"\\{found[2]}", echo)
