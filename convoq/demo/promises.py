"""What was promised and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convoq.loopback.audit import AcceptedMessage, AuditResult
from convoq.loopback.messages import TwilioMessage


@dataclass(frozen=True, slots=True)
class Promise:
    what: str
    happened: str
    kept: bool


def audit_promises(audit: AuditResult, *, by_hand: str | None = None) -> list[Promise]:
    """What the three records say when they are held against each other; `by_hand` has answered one."""
    answered, expected = f"{audit.accepted} accepted, {audit.answered} answered", audit.accepted
    if by_hand is not None:
        answered, expected = f"{answered} by the AI, {audit.silent} by {by_hand}", audit.accepted - 1
    lost = len(audit.lost) + len(audit.waiting)
    return [
        Promise(
            "every accepted message is answered",
            answered,
            audit.answered == expected > 0,
        ),
        Promise("nothing is lost", f"{lost} lost", lost == 0),
        Promise("nothing is sent twice", f"{len(audit.doubled)} doubled", not audit.doubled),
        Promise(
            "each phone is answered in order", f"{len(audit.disordered)} out of order", not audit.disordered
        ),
    ]  # fmt: skip


def echo_promise(accepted: Sequence[AcceptedMessage], at_twilio: Sequence[TwilioMessage]) -> Promise:
    """What Twilio alone says: the demo's responder quotes each message, so each must be quoted once, to its author."""
    counts = [
        sum(message.to == promise.address and f"“{promise.text}”" in message.body for message in at_twilio)
        for promise in accepted
    ]
    once = sum(count == 1 for count in counts)
    return Promise(
        "Twilio's own record agrees", f"{once} of {len(counts)} quoted exactly once", once == len(counts) > 0
    )
