"""The seam to the AI: what a responder is asked and what it answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from convoq.errors import RetryLater, Unrecoverable

#: Outcomes of a ModelCall that count to no bound of a message: the provider turned the request down, or never had it.
#: One whose answer was lost, for want of time or with its connection, may have been written, and be billed.
FREE: Final = frozenset({"retryable", "account", "misconfigured", "permanent"})


class Act(enum.StrEnum):
    """What a model may do instead of answering, as the tool of that name."""

    HAND_OVER = "hand_over"
    END = "end_conversation"


class HandoverReason(enum.StrEnum):
    """Why a model asks for a person of ours."""

    ASKED = "asked"
    COMPLAINT = "complaint"
    MANDATE = "mandate"
    UNSURE = "unsure"
    SAFETY = "safety"
    OTHER = "other"


class Author(enum.StrEnum):
    """Who wrote a line of a conversation."""

    CONTACT = "contact"
    AI = "ai"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLine:
    """One message of the conversation, as the AI reads it."""

    author: Author
    text: str
    at: int  #: ms on the wall clock
    notes: tuple[str, ...] = ()  #: what it is besides its text, one line each: "photo", "tapped a button"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One request to a model and what it cost. Recorded for every call, failed ones too.

    Tokens are estimated where the model does not say them, also for a call that was cut off and may be billed.
    """

    model: str
    #: ok, retryable, account, misconfigured, permanent, refused, empty, unusable, unreadable, timeout, disconnected,
    #: cancelled
    outcome: str
    input_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0
    error: str | None = None
    cached_tokens: int = 0  #: of the input, that the provider had in its cache
    unheard_tokens: int = 0  #: that it may have written, and be billed for, without our having got them
    assumed_tokens: int = 0  #: of those, as many as it had time for: they count to what a message may cost
    hold: int | None = None  #: what ReplyContext.hold gave for it

    @property
    def is_billed(self) -> bool:
        """Whether it may be charged for, and so counts to what a message may cost."""
        return self.outcome not in FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBound:
    """A request that is to be sent, and what it may cost at most."""

    model: str
    input_tokens: int  #: as estimated
    most_input_tokens: int
    output_tokens: int  #: its limit


async def hold_nothing(_: CallBound) -> None:
    """Where nothing is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What an answer may still cost."""

    requests: int  #: that are billed
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyContext:
    """What a responder knows when it is asked. What the contact wrote last is what it answers."""

    conversation_id: int
    persona: str  #: which of the configured personas speaks
    channel: str
    our_address: str
    address: str
    contact_name: str | None
    contact_facts: tuple[str, ...] = ()  #: what people of ours have written down of the contact
    lines: tuple[ContextLine, ...]  #: oldest first
    now: int  #: ms on the wall clock
    timezone: dt.tzinfo | None = None  #: our address's; None: the machine's
    earlier: tuple[ContextLine, ...] = ()  #: how earlier conversations ended, oldest line first
    record: Callable[[ModelCall], Awaitable[None]]  #: stores a call as soon as it ended
    #: To be awaited before a call; its result goes into the ModelCall. Raises BudgetReached when it must not be made.
    hold: Callable[[CallBound], Awaitable[int | None]] = hold_nothing
    allowance: Allowance
    acts: frozenset[Act] = frozenset()  #: that the model may do
    #: To be set before a tool acts outside: from then on the answer is not given up for a newer message.
    acted: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class HandoverRequest:
    """The model asks for a person of ours."""

    reason: HandoverReason
    note: str | None = None  #: for that person


@dataclass(frozen=True, slots=True)
class Reply:
    """What a responder answers."""

    text: str  #: Markdown; the gate of ai/reply.py cleans it, the channel renders it
    model: str
    handover: HandoverRequest | None = None  #: the text tells of it; empty: the model has found no words for that
    ends: bool = False  #: the conversation, with the text as a goodbye; empty: as above


class AccountRefused(RetryLater):
    """The provider refuses our key, model or requests, or our account has no credit: nothing is answered until that is
    mended."""


class Useless(RetryLater):
    """The model has answered, and nothing of it is an answer: that costs the message an attempt."""


class AnswerLost(RetryLater):
    """A model was at work, and its answer was not complete in time, or the connection was lost before: an outage like
    others, but each time counts to what the message may cost."""

    def __init__(self, delay: float, reason: str, *, asks_left: int) -> None:
        super().__init__(delay, reason)
        self.asks_left = asks_left  #: turns like this one that the message may still cost


class BudgetReached(RetryLater):
    """A request could exceed what a person or a number may cost in its period."""

    def __init__(self, delay: float, reason: str, *, used_up: bool, day: str) -> None:
        super().__init__(delay, reason)
        self.used_up = used_up  #: else what is under way may leave enough
        self.day = day  #: today, where budgets are counted


class AllowanceSpent(Unrecoverable):
    """The answer has cost what it may, and there is none."""


class AnswerRefused(Unrecoverable):
    """The model, or its provider's filter, will not answer this, however often it is asked."""


class Responder(Protocol):
    """Answers a turn.

    Raises RetryLater(delay) when trying again later can help (the model is down or busy; AnswerLost: it was at work),
    Useless when it answered without use, AccountRefused(delay) when the account has to be mended first, AllowanceSpent
    when no further request may be made, Unrecoverable when none of it helps (refused).
    Cancelling it ends the request to the model.
    """

    async def warm(self) -> None:
        """Loads what replies need, off the event loop. Raises ConfigError: call it before claiming work."""
        ...

    async def reply(self, context: ReplyContext) -> Reply: ...

    async def close(self) -> None: ...
