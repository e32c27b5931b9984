"""What the page shows, as plain data: the templates render it first, the page's script from then on."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from convoq.channels.twilio.errors import meaning
from convoq.dev.page.actions import Note
from convoq.dev.page.timeline import Heard, Said, Thread
from convoq.loopback.audit import Audit
from convoq.loopback.messages import TwilioMessage
from convoq.loopback.people import Phone

SLACK = 100  # ms; a snooze ends a little after what it waits for
_CODE = re.compile(r"\((\d+)\)$")
STEPS = ("Received", "Claimed", "Drafted", "Sent", "Delivered")


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of a message's way. `state` is done, now or todo."""

    name: str
    took: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a phone. `kind` is mine (the person's own), theirs (ours) or note."""

    key: str
    kind: str
    text: str
    clock: str = ""
    tone: str = ""
    hint: str = ""
    ticks: str = ""  #: "", sent, delivered, failed
    brief: bool = False  #: the timeline goes on at a later message of the same turn
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class PhoneView:
    number: int
    typing: bool
    items: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class Memory:
    """What the page saw and the database no longer shows."""

    quiet_window: float  #: seconds that a worker waits whether more is coming
    first_claims: dict[str, int] = field(default_factory=dict)  #: a job knows only its latest
    held_up: set[str] = field(default_factory=set)  #: messages that had to wait for the model

    def take_in(self, heard: Heard, now: int) -> None:
        if heard.claimed_at is not None:
            self.first_claims.setdefault(heard.sid, heard.claimed_at)
        if heard.outcome is None and not heard.running and (heard.due_at or 0) > max(now, self._quiet_until(heard)):
            self.held_up.add(heard.sid)

    def writes(self, heard: Heard) -> bool:
        """Whether a worker is at the answer; before that it only looks whether the person has paused."""
        busy = heard.running and heard.outcome is None and heard.drafted_at is None
        return busy and (heard.claimed_at or 0) >= heard.latest_at + self.quiet_window * 1000 - SLACK

    def _quiet_until(self, heard: Heard) -> float:
        return heard.latest_at + self.quiet_window * 1000 + SLACK


def blank(kind: str) -> Item:
    """An empty item, for the page's own templates."""
    return Item(key="", kind=kind, text="", steps=tuple(Step(name, "", "todo") for name in STEPS))


def phone_view(
    phone: Phone, thread: Thread, notes: Sequence[Note], at_twilio: Sequence[TwilioMessage], memory: Memory, now: int,
) -> PhoneView:  # fmt: skip
    """One phone: what its owner wrote, what arrived on it, and what the buttons did, in the order of time."""
    lines = [(one.received_at, _mine(one, thread, memory, now)) for one in thread.heard]
    lines += _theirs(phone, thread.said, at_twilio)
    lines += [(note.at, Item(key=f"note-{note.number}", kind="note", text=note.text, tone=note.tone)) for note in notes]
    typing = any(memory.writes(one) for one in thread.heard)
    return PhoneView(phone.number, typing, [item for _, item in sorted(lines, key=lambda line: line[0])])


def _mine(heard: Heard, thread: Thread, memory: Memory, now: int) -> Item:
    parts = [said for said in thread.said if said.message_id == heard.answered_by]
    brief = any(
        other.received_at >= heard.received_at and other.sid != heard.sid and _one_turn(heard, other)
        for other in thread.heard[thread.heard.index(heard) :]
    )
    hint, tone = ("answered together with the next", "plain") if brief else _hint(heard, parts, memory, now)
    return Item(
        key=heard.sid,
        kind="mine",
        text=heard.text,
        clock=_clock(heard.received_at),
        hint=hint,
        tone=tone,
        brief=brief,
        steps=_steps(heard, parts, memory.first_claims.get(heard.sid, heard.claimed_at)),
    )


def _one_turn(one: Heard, other: Heard) -> bool:
    return one.answered_by == other.answered_by and one.outcome == other.outcome and one.outcome in (None, "answered")


def _steps(heard: Heard, parts: Sequence[Said], claimed_at: int | None) -> tuple[Step, ...]:
    sent = [said.settled_at for said in parts if said.state == "sent" and said.settled_at is not None]
    delivered = [said.delivery_at for said in parts if said.delivery in ("delivered", "read") and said.delivery_at]
    times = (
        heard.received_at,
        claimed_at,
        heard.drafted_at,
        max(sent) if parts and len(sent) == len(parts) else None,
        max(delivered) if parts and len(delivered) == len(parts) else None,
    )
    reached = max(index for index, at in enumerate(times) if at is not None)
    over = heard.outcome not in (None, "answered") or heard.job_state == "dead"
    return tuple(
        Step(name, "" if at is None else took(at - heard.received_at), _state(index, reached, over=over))
        for index, (name, at) in enumerate(zip(STEPS, times, strict=True))
    )


def _state(index: int, reached: int, *, over: bool) -> str:
    if index <= reached:
        return "done"
    return "now" if index == reached + 1 and not over else "todo"


def _hint(heard: Heard, parts: Sequence[Said], memory: Memory, now: int) -> tuple[str, str]:
    """What is going on, or what was overcome, in a few words and a tone."""
    if heard.job_state == "dead":
        return f"given up: {heard.error or 'no reason was noted'}".splitlines()[-1], "bad"
    if heard.outcome == "keyword":
        return "STOP, START and HELP are not for the AI", "plain"
    if heard.outcome not in (None, "answered"):
        return f"no answer: {heard.outcome}".replace("_", " "), "plain"
    return _of_parts(parts) or _of_job(heard, memory, now)


def _of_parts(parts: Sequence[Said]) -> tuple[str, str] | None:
    for said in parts:
        if said.state == "failed":
            return f"not sent: {said.error}", "bad"
        if said.state == "ambiguous":
            return "Twilio's answer was lost: asking before sending again", "bad"
        if said.state == "ready" and said.error:
            return f"not sent yet: {_plainly(said.error)}", "bad"
    if any(said.reconciled for said in parts):
        return "Twilio's answer was lost, yet sent only once", "good"
    if any(said.attempts > 1 for said in parts):
        return "sent at the second try" if max(s.attempts for s in parts) == 2 else "sent after several tries", "good"
    return None


def _plainly(error: str) -> str:
    """What an operator is told about the code in an error, else its own first line."""
    code = _CODE.search(error)
    known = meaning(code[1]) if code else None
    return known.hint if known else (error.strip().splitlines() or ["no reason was noted"])[0]


def _of_job(heard: Heard, memory: Memory, now: int) -> tuple[str, str]:
    held_up = heard.sid in memory.held_up
    if heard.outcome is not None:
        if held_up or heard.error:
            return "answered once the model was back", "good"
        return ("its worker died; the next one answered", "good") if heard.attempt > 1 else ("", "")
    if heard.running:
        return (f"taken up again, attempt {heard.attempt}", "plain") if heard.attempt > 1 else ("", "")
    if held_up or heard.error:
        return "the model does not answer: trying again", "bad"
    return ("waiting whether more is coming", "plain") if heard.claimed_at and (heard.due_at or 0) > now else ("", "")


def _theirs(phone: Phone, said: Sequence[Said], at_twilio: Sequence[TwilioMessage]) -> list[tuple[int, Item]]:
    """A bubble for each message that arrived, so that one sent twice would be seen twice."""
    arrived: dict[str | None, list[TwilioMessage]] = {}
    for message in at_twilio:
        if message.to == phone.address:
            arrived.setdefault(message.reference, []).append(message)
    lines = []
    for part in said:
        at = part.settled_at or part.at
        copies = arrived.pop(part.reference, [])
        # What an earlier run sent is not at this run's Twilio.
        keys = [copy.sid for copy in copies] or ([part.reference] if part.state == "sent" else [])
        lines += [(at, _bubble(key, part.text, at, _ticks(part))) for key in keys]
    for copies in arrived.values():
        lines += [(copy.created, _bubble(copy.sid, copy.body, copy.created, "sent")) for copy in copies]
    return lines


def _bubble(key: str, text: str, at: int, ticks: str) -> Item:
    return Item(key=key, kind="theirs", text=text, clock=_clock(at), ticks=ticks)


def _ticks(part: Said) -> str:
    if part.delivery in ("failed", "undelivered"):
        return "failed"
    return "delivered" if part.delivery in ("delivered", "read") else "sent"


def took(ms: int) -> str:
    """A duration in at most six characters."""
    if ms < 1000:
        return f"{max(0, ms)} ms"
    if ms < 10_000:
        return f"{ms / 1000:.2f} s"
    return f"{ms / 1000:.1f} s" if ms < 100_000 else f"{ms // 60_000} min"


def _clock(at: int) -> str:
    return time.strftime("%H:%M", time.localtime(at / 1000))


def counters(books: Audit, queued: int) -> dict[str, int]:
    return {
        "queue": queued,
        "accepted": books.accepted,
        "answered": books.answered,
        "lost": len(books.lost),
        "doubled": len(books.doubled),
    }
