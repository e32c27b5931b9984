"""What was said in a conversation, as a page shows it: each thing in its place, each state in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from convoq.channels.twilio.errors import hint
from convoq.console.pages import words
from convoq.conversations.queries import Line, Note, Transcript, Transition
from convoq.conversations.records import OutboxRow
from convoq.conversations.states import DEAD_ENDS, Outcome
from convoq.text import counted

OPENED: Final = "-opened"
LONGEST_SHOWN: Final = 1500  #: characters of a message that stand there at once
_NUMBER: Final = "+0123456789 ().-/"  # what a number is written with
_LONGEST_NUMBER: Final = 40

_DELIVERY: Final = {
    "ready": "waits to be sent", "sending": "on its way", "ambiguous": "not known whether it left: it is looked up",
    "cancelled": "not sent", "queued": "sent", "accepted": "sent", "scheduled": "sent", "sent": "sent",
    "delivered": "delivered", "read": "read",
}  # fmt: skip
_OUTCOMES: Final = {
    "keyword": "a keyword: no AI answers it",
    "opted_out": "not answered: opted out", "blocked": "not answered: blocked",
    "no_reply": "needs no answer", "ours": "not answered: it came from a number of ours",
    "window": "not answered: more than 24 hours passed", "elsewhere": "answered from elsewhere",
    "failed": "no answer could be made", "cancelled": "not answered: cancelled by an operator",
}  # fmt: skip


class Item(NamedTuple):
    """One thing in the transcript."""

    key: str
    kind: str  #: day, in, out, note, event
    at: int
    text: str
    rest: str = ""  #: of a long text
    author: str = ""
    is_person: bool = False  #: of ours
    state: str = ""  #: in words
    tone: str = ""
    under: str = ""
    icon: str = ""
    turn: int = 0  #: the message whose turn can be looked at


def items_of(transcript: Transcript, operator: str, *, with_end: bool) -> list[Item]:
    """By time, with a line for each day; without `with_end` nothing that came after the last message."""
    last = transcript.lines[-1].message.at if transcript.lines and not with_end else 1 << 62
    found = [
        *(_message(line, transcript.lines, operator) for line in transcript.lines),
        *(_event(index, one, operator) for index, one in enumerate(transcript.transitions) if one.at <= last),
        *(_note(note) for note in transcript.notes if note.at <= last),
    ]
    begun = min((item.at for item in found), default=0)
    # It was opened by the message that was accepted a moment before.
    found = [item._replace(at=begun - 1) if item.key.endswith(OPENED) else item for item in found]
    found.sort(key=lambda item: (item.at, item.kind != "event"))  # a reply takes over first, in the same moment
    return list(_with_days(found))


def _with_days(items: Sequence[Item]) -> Iterator[Item]:
    day = ""
    for item in items:
        if (today := words.day(item.at)) != day:
            day = today
            yield Item(f"d{item.key}", "day", item.at, day)
        yield item


def cut(text: str) -> tuple[str, str]:
    """What stands there at once, and the rest. Not within a number: of its halves a viewer would see what is masked."""
    if len(text) <= LONGEST_SHOWN:
        return text, ""
    before = len(text[:LONGEST_SHOWN].rstrip(_NUMBER))
    at = before if before >= LONGEST_SHOWN - _LONGEST_NUMBER else LONGEST_SHOWN
    return text[:at], text[at:]


def _message(line: Line, lines: Sequence[Line], operator: str) -> Item:
    message = line.message
    text = message.description or message.body
    shown, rest = cut(text)
    key = f"m{message.id}"
    if message.direction == "in":
        outcome = "waits for the AI" if message.outcome is None else _OUTCOMES.get(str(message.outcome), "")
        tone = "bad" if message.outcome == "failed" else ""
        return Item(
            key,
            "in",
            message.at,
            shown,
            rest,
            under=_reasoned(outcome, message.reason),
            tone=tone,
            turn=message.id if message.outcome in (None, Outcome.FAILED) else 0,
        )
    author = {"ai": "AI", "system": "convoq"}.get(message.author, "")
    person = not author
    author = author or ("You" if message.written_by == operator else words.one_line(message.written_by or "Colleague"))
    state, why = _delivery(line)
    return Item(
        key, "out", message.at, shown, rest, author=author, is_person=person, state=state,
        tone="bad" if why else "", under=why or _answered(line, lines),
        turn=message.id if message.author == "ai" else 0,
    )  # fmt: skip


def _reasoned(outcome: str, reason: str | None) -> str:
    return f"{outcome} ({words.one_line(reason)})" if outcome and reason else outcome


def _delivery(line: Line) -> tuple[str, str]:
    """The state in words, and of what did not arrive why."""
    word = line.delivery
    if word is None:
        return "", ""
    parts = [part for part in line.parts if part.state == "failed" or part.delivery in DEAD_ENDS]
    if word in DEAD_ENDS:
        return "not delivered", "Not delivered. " + _why(parts[0]) if parts else "Not delivered."
    if word == "cancelled":
        stopped = next(part for part in line.parts if part.state == "cancelled")
        return "not sent", f"Not sent: {words.one_line(stopped.error or 'it was cancelled')}"
    return _DELIVERY.get(word, word), ""


def _why(part: OutboxRow) -> str:
    if part.error_code is not None and part.error_code.isdigit():
        return hint(part.error_code)
    return words.one_line(part.error or "The channel says no more.")


def _answered(line: Line, lines: Sequence[Line]) -> str:
    """Of an answer of the AI's: how many messages it answers, and how long the last of them waited for it."""
    answers = [one.message for one in lines if one.message.answered_by == line.message.id]
    sent = [part.settled_at for part in line.parts if part.settled_at is not None]
    if line.message.author != "ai" or not answers or not sent:
        return ""
    seconds = max(0, max(sent) - answers[-1].at) / 1000
    took = f"{seconds:.1f} s" if seconds < 60 else words.span(seconds)
    return f"answered {counted(len(answers), 'message')} in {took}"


def _event(index: int, one: Transition, operator: str) -> Item:
    who = {"ai": "AI", "contact": "The person", "upkeep": "convoq", "system": "convoq"}.get(one.who, one.who)
    who = "You" if one.who == operator else words.one_line(who)
    text = f"{who} · {words.one_line(one.reason)} · {words.clock(one.at)}"
    tone, icon = {"human": ("brand", "person"), "waiting": ("warn", "hand"), "ai": ("", "ai")}.get(
        one.owner_after, ("", "none")
    )
    if one.owner_before == one.owner_after:
        tone, icon = "", "clock"
    opened = OPENED if one.status_before is None else ""
    return Item(f"t{one.at}-{index}{opened}", "event", one.at, text, tone=tone, icon=icon)


def _note(note: Note) -> Item:
    shown, rest = cut(note.text)
    return Item(f"n{note.id}", "note", note.at, shown, rest, author=words.one_line(note.who))
