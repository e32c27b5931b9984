"""What the page shows, as plain data: the templates render it first, the page's script from then on."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from convoq.channels.twilio.errors import meaning
from convoq.conversations.states import DEAD_ENDS
from convoq.conversations.timeline import OutboundPart
from convoq.dev.page.actions import Note
from convoq.dev.page.colleague import DeskView
from convoq.dev.page.timeline import InboundStep, Thread
from convoq.loopback.audit import AuditResult
from convoq.loopback.messages import TwilioMessage
from convoq.loopback.people import Phone, readable

SLACK_MS = 100  # a snooze ends a little after what it waits for
_CODE = re.compile(r"\((\d+)\)$")


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
    attached: str = ""  #: what the message is besides its text
    clock: str = ""
    tone: str = ""
    hint: str = ""
    ticks: str = ""  #: "", sent, delivered, failed
    by: str = ""  #: which colleague wrote it
    brief: bool = False  #: the timeline goes on at a later message of the same turn
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class PhoneView:
    number: int
    owner: str
    address: str  #: as people read it
    typing: bool
    desk: DeskView
    items: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class ViewHistory:
    """What the page saw and the database no longer shows."""

    quiet_window: float  #: seconds that a worker waits whether more is coming
    held_up: set[str] = field(default_factory=set)  #: messages that had to wait for the model
    waited_until: dict[str, int] = field(default_factory=dict)  #: when a worker began with the answer, ms

    def blank(self, kind: str) -> Item:
        """An empty item, for the page's own templates."""
        return Item(key="", kind=kind, text="", steps=tuple(Step(name, "", "todo") for name in self.step_names))

    @property
    def step_names(self) -> tuple[str, ...]:
        return ("Received", "Recorded", *(["Waited"] if self.quiet_window else []), "Drafted", "Sent", "Delivered")

    def observe(self, inbound: InboundStep, now: int) -> None:
        quiet_until = inbound.latest_at + self.quiet_window * 1000 + SLACK_MS
        waits = inbound.outcome is None and not inbound.running
        if waits and (inbound.due_at or 0) > max(now, quiet_until):
            self.held_up.add(inbound.sid)
        if self.writes(inbound) and inbound.turn_at is not None:
            self.waited_until.setdefault(inbound.sid, inbound.turn_at)

    def quiet_at(self, inbound: InboundStep) -> int | None:
        """When the wait for more was over: as it was seen, else at the earliest. None: not yet, or never begun."""
        if inbound.drafted_at is None:
            return self.waited_until.get(inbound.sid) if inbound.outcome is None else None
        quiet_at = inbound.received_at + round(self.quiet_window * 1000)
        earliest = max(quiet_at, inbound.recorded_at or quiet_at)
        return min(self.waited_until.get(inbound.sid, earliest), inbound.drafted_at)

    def writes(self, inbound: InboundStep) -> bool:
        """Whether a worker is at the answer; before that it only looks whether the person has paused."""
        busy = inbound.running and inbound.outcome is None and inbound.drafted_at is None
        return busy and (inbound.turn_at or 0) >= inbound.latest_at + self.quiet_window * 1000 - SLACK_MS


def phone_view(
    phone: Phone, thread: Thread, notes: Sequence[Note], at_twilio: Sequence[TwilioMessage], history: ViewHistory,
    desk: DeskView, now: int,
) -> PhoneView:  # fmt: skip
    """One phone: what its owner wrote, what arrived on it, and what the buttons did, in the order of time."""
    lines = [(one.received_at, _mine(one, thread, history, now)) for one in thread.inbound]
    lines += _theirs(phone, thread.outbound, at_twilio)
    lines += [(note.at, Item(key=f"note-{note.number}", kind="note", text=note.text, tone=note.tone)) for note in notes]
    typing = any(history.writes(one) for one in thread.inbound)
    return PhoneView(
        phone.number,
        phone.owner,
        readable(phone.address),
        typing,
        desk,
        [item for _, item in sorted(lines, key=lambda line: line[0])],
    )


def _mine(inbound: InboundStep, thread: Thread, history: ViewHistory, now: int) -> Item:
    parts = [part for part in thread.outbound if part.message_id == inbound.answered_by]
    by = next((part.written_by for part in parts if part.written_by), None)
    brief = any(
        other.received_at >= inbound.received_at and other.sid != inbound.sid and _one_turn(inbound, other)
        for other in thread.inbound[thread.inbound.index(inbound) :]
    )
    hint, tone = ("answered together with the next", "plain") if brief else _hint(inbound, parts, history, now)
    if by is not None and not brief:
        hint = f"answered by {by}"
    return Item(
        key=inbound.sid,
        kind="mine",
        text=inbound.text,
        attached=", ".join(inbound.notes),
        clock=_clock(inbound.received_at),
        hint=hint,
        tone=tone,
        brief=brief,
        steps=_steps(inbound, parts, history),
    )


def _one_turn(one: InboundStep, other: InboundStep) -> bool:
    return one.answered_by == other.answered_by and one.outcome == other.outcome and one.outcome in (None, "answered")


def _steps(inbound: InboundStep, parts: Sequence[OutboundPart], history: ViewHistory) -> tuple[Step, ...]:
    sent = [part.settled_at for part in parts if part.state == "sent" and part.settled_at is not None]
    delivered = [part.delivery_at for part in parts if part.delivery in ("delivered", "read") and part.delivery_at]
    times = (
        inbound.received_at,
        inbound.recorded_at,
        *([history.quiet_at(inbound)] if history.quiet_window else []),
        inbound.drafted_at,
        max(sent) if parts and len(sent) == len(parts) else None,
        max(delivered) if parts and len(delivered) == len(parts) else None,
    )
    reached = max(index for index, at in enumerate(times) if at is not None)
    over = inbound.outcome not in (None, "answered")
    return tuple(
        Step(name, "" if at is None else took(at - inbound.received_at), _state(index, reached, over=over))
        for index, (name, at) in enumerate(zip(history.step_names, times, strict=True))
    )


def _state(index: int, reached: int, *, over: bool) -> str:
    if index <= reached:
        return "done"
    return "now" if index == reached + 1 and not over else "todo"


WITHOUT_ANSWER: Final = {
    "keyword": "a keyword: no AI answers it",
    "no_reply": "thanks, a goodbye, out of hours, or left so by a colleague: no AI answers it",
    "human": "for a person of yours: no AI answers it",
    "ours": "from a number of ours: no AI answers it",
}


def _hint(inbound: InboundStep, parts: Sequence[OutboundPart], history: ViewHistory, now: int) -> tuple[str, str]:
    """What is going on, or what was overcome, in a few words and a tone."""
    if inbound.outcome == "failed":
        return f"given up: {inbound.error or 'no reason was noted'}".splitlines()[-1], "bad"
    if inbound.outcome not in (None, "answered"):
        return WITHOUT_ANSWER.get(inbound.outcome, f"no answer: {inbound.outcome}".replace("_", " ")), "plain"
    return _of_parts(parts) or _of_job(inbound, history, now)


def _of_parts(parts: Sequence[OutboundPart]) -> tuple[str, str] | None:
    for part in parts:
        if part.state == "failed":
            return f"not sent: {_plainly(part)}", "bad"
        if part.delivery in DEAD_ENDS:
            return f"not delivered: {_plainly(part)}", "bad"
        if part.state == "ambiguous":
            return "Twilio's answer was lost: asking before sending again", "bad"
        if part.state == "ready" and part.error:
            return f"not sent yet: {_plainly(part)}", "bad"
    if any(part.reconciled for part in parts):
        return "Twilio's answer was lost, yet sent only once", "good"
    if any(part.attempts > 1 for part in parts):
        return "sent at the second try" if max(s.attempts for s in parts) == 2 else "sent after several tries", "good"
    return None


def _plainly(part: OutboundPart) -> str:
    """What an operator is told about the code of a part's error, else the error's own first line."""
    error = part.error or ""
    found = _CODE.search(error)
    code = part.error_code or (found[1] if found else None)
    known = meaning(code) if code else None
    return known.hint if known else (error.strip().splitlines() or ["no reason was noted"])[0]


def _of_job(inbound: InboundStep, history: ViewHistory, now: int) -> tuple[str, str]:
    held_up = inbound.sid in history.held_up
    if inbound.outcome is not None:
        if held_up or inbound.error:
            return "answered once the model was back", "good"
        return ("its worker died; the next one answered", "good") if inbound.tries > 1 else ("", "")
    if inbound.running:
        return (f"taken up again, try {inbound.tries}", "plain") if inbound.tries > 1 else ("", "")
    if held_up or inbound.error:
        return "the model does not answer: trying again", "bad"
    snoozed = (inbound.due_at or 0) > now
    return ("waiting whether more is coming", "plain") if snoozed else ("", "")


def _theirs(phone: Phone, parts: Sequence[OutboundPart], at_twilio: Sequence[TwilioMessage]) -> list[tuple[int, Item]]:
    """A bubble for each message that arrived, so that one sent twice would be seen twice."""
    arrived: dict[str | None, list[TwilioMessage]] = {}
    for message in at_twilio:
        if message.to == phone.address:
            arrived.setdefault(message.reference, []).append(message)
    lines = []
    for part in parts:
        at = part.settled_at or part.at
        copies = arrived.pop(part.reference, [])
        # What an earlier run sent is not at this run's Twilio.
        keys = [copy.sid for copy in copies] or ([part.reference] if part.state == "sent" else [])
        lines += [(at, _bubble(key, part.text, at, _ticks(part), part.written_by or "")) for key in keys]
    for copies in arrived.values():
        lines += [(copy.created, _bubble(copy.sid, copy.body, copy.created, "sent")) for copy in copies]
    return lines


def _bubble(key: str, text: str, at: int, ticks: str, by: str = "") -> Item:
    return Item(key=key, kind="theirs", text=text, clock=_clock(at), ticks=ticks, by=by)


def _ticks(part: OutboundPart) -> str:
    if part.delivery in DEAD_ENDS:
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


def counters(found: AuditResult, queued: int) -> dict[str, int]:
    return {
        "queue": queued,
        "accepted": found.accepted,
        "answered": found.answered,
        "silent": found.silent,
        "undelivered": len(found.undelivered),
        "lost": len(found.lost),
        "doubled": len(found.doubled),
    }
