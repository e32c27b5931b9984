"""What a conversation can be and how it may change."""

from __future__ import annotations

import enum
from typing import Final

from convoq.errors import ConvoqError


class Owner(enum.StrEnum):
    """Who answers."""

    AI = "ai"
    WAITING = "waiting"  #: a person of ours is awaited
    HUMAN = "human"  #: a person of ours, by name
    NOBODY = "nobody"  #: the customer has opted out or is blocked, or an operator has left it to nobody


class Status(enum.StrEnum):
    """Where the conversation stands, apart from who answers."""

    ACTIVE = "active"
    IDLE = "idle"
    CLOSED = "closed"


class HandedReason(enum.StrEnum):
    """Why a person of ours is to answer."""

    ASKED = "asked"  #: the customer wants to
    COMPLAINT = "complaint"
    MANDATE = "mandate"  #: it is not the AI's to decide
    UNSURE = "unsure"
    SAFETY = "safety"
    BUDGET = "budget"  #: an answer has cost what it may, and there is none
    PROVIDER_DOWN = "provider_down"
    LOOP = "loop"  #: the model's answers were of no use, however often it was asked
    PAUSED = "paused"
    CLOSED = "closed"  #: outside the business hours
    UNATTENDED = "unattended"  #: the person of ours has let the customer wait
    SET_ASIDE = "set_aside"  #: nobody is to: an operator has said so, say because another program does
    OTHER = "other"


class CloseReason(enum.StrEnum):
    USER = "user"
    OPERATOR = "operator"
    AI = "ai"
    IDLE = "idle"
    EXPIRED = "expired"
    OPTED_OUT = "opted_out"
    FAILED = "failed"
    ERASED = "erased"  #: with the person


class Outcome(enum.StrEnum):
    """What became of a message that a person wrote. Until then it waits."""

    ANSWERED = "answered"
    KEYWORD = "keyword"  #: STOP, START or HELP: no AI may answer it
    OPTED_OUT = "opted_out"  #: its author has opted out
    BLOCKED = "blocked"  #: its author is blocked
    HUMAN = "human"  #: a person of ours owns the conversation, or is awaited; what answers it stands in answered_by
    NO_REPLY = "no_reply"  #: thanks or goodbye, out of hours, or left so by a person of ours: its reason says which
    OURS = "ours"  #: it came from a number of ours: an answer would begin a loop
    WINDOW = "window"  #: more than 24 hours passed: WhatsApp takes no free text any more
    ELSEWHERE = "elsewhere"  #: answered from elsewhere: from another program, or before a restore
    FAILED = "failed"  #: no answer could be made; its job is in the dead letters
    CANCELLED = "cancelled"  #: an operator has cancelled or discarded its job


class IllegalTransition(ConvoqError):
    """A conversation cannot change that way."""


# A closed conversation is only ever reopened by a message that was accepted before it was closed.
ALLOWED = {
    Status.ACTIVE: {Status.IDLE, Status.CLOSED},
    Status.IDLE: {Status.ACTIVE, Status.CLOSED},
    Status.CLOSED: {Status.ACTIVE},
}


def check_transition(before: Status, after: Status) -> None:
    if after not in ALLOWED[before]:
        raise IllegalTransition(f"a conversation that is {before} cannot become {after}")


#: What a channel says of a message that it took and that never arrives.
DEAD_ENDS: Final = ("failed", "undelivered", "canceled")
