"""What a conversation can be and how it may change."""

from __future__ import annotations

import enum

from convoq.errors import ConvoqError


class Owner(enum.StrEnum):
    """Who answers."""

    AI = "ai"
    HUMAN = "human"
    NOBODY = "nobody"


class Status(enum.StrEnum):
    """Where the conversation stands, apart from who answers."""

    ACTIVE = "active"
    IDLE = "idle"
    CLOSED = "closed"


class CloseReason(enum.StrEnum):
    USER = "user"
    OPERATOR = "operator"
    AI = "ai"
    IDLE = "idle"
    EXPIRED = "expired"
    OPTED_OUT = "opted_out"
    FAILED = "failed"


class Outcome(enum.StrEnum):
    """What became of a message that a person wrote. Until then it waits."""

    ANSWERED = "answered"
    KEYWORD = "keyword"  #: STOP, START or HELP: no AI may answer it
    OPTED_OUT = "opted_out"  #: its author has opted out
    BLOCKED = "blocked"  #: its author is blocked
    HUMAN = "human"  #: a person owns the conversation
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
