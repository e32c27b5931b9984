"""Conversations as the rest of convoq reads them. Times are ms on the queue's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from convoq.conversations.states import CloseReason, HandedReason, Outcome, Owner, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    id: int
    channel: str
    address: str
    name: str | None
    opted_out_at: int | None
    blocked_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    id: int
    thread_id: int
    our_address: str
    lane: str  #: the ordering key of its thread's turns
    owner: Owner
    status: Status
    closed_reason: CloseReason | None
    opened_at: int
    last_message_at: int
    last_inbound_at: int | None  #: in any conversation of its thread
    closed_at: int | None
    contact: Contact
    owner_name: str | None = None  #: of the operator that owns it
    owner_since: int | None = None  #: None: from the beginning
    owner_version: int = 0  #: grows with each change of the owner
    owner_acted_at: int | None = None  #: when that person did something in it last
    handed_reason: str | None = None  #: why a person of ours is awaited
    told_at: int | None = None  #: when the customer was told that no operator is free
    is_paused: bool = False  #: the AI says nothing here
    last_inbound_wall: int | None = None  #: as last_inbound_at, by the wall clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line of a conversation."""

    id: int
    direction: str  #: in, out
    author: str  #: contact, ai, operator, system
    body: str  #: exactly as written or generated
    description: str  #: as an AI or a person reads it
    at: int  #: inbound: accepted by the webhook; outbound: committed
    wall_at: int  #: the same moment by the wall clock
    outcome: Outcome | None  #: inbound: what became of it; None while it waits
    reason: str | None = None  #: why, where the outcome needs words
    answered_by: int | None
    job_id: str | None
    tries: int = 0  #: turns begun for it that came to no end
    failures: int = 0  #: those of them that an error or the deadline ended
    retry_at: int = 0  #: before that it is not tried again once it has been overtaken
    ended_by: str | None = None  #: the job whose end was its own: that job's retry revives it
    requests: int = 0  #: to models, for an answer to it, that may be charged for
    output_tokens: int = 0  #: that models wrote for them
    written_by: str | None = None  #: the name of the operator
    returned: int = 0  #: times that it came back to the AI because no person of ours had answered it


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What of a thread is answered together."""

    token: str  #: it may write as long as this is the thread's
    conversation: Conversation
    shown: tuple[Message, ...]  #: what the model is to answer, oldest first
    seen: int  #: the newest message that waited when the turn was looked at
    patience_ends: int  #: from then on it is answered even if something newer waits

    @property
    def thread_id(self) -> int:
        return self.conversation.thread_id

    @property
    def through(self) -> int:
        """The newest message that the answer covers."""
        return self.shown[-1].id


class Handover(NamedTuple):
    """The AI asks for a person of ours."""

    reason: HandedReason
    why: str | None = None  #: for that person


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply as it is committed."""

    text: str
    parts: tuple[str, ...]  #: as they are sent
    disclosing: tuple[str, ...] = ()  #: instead, to a person who has not been told that an AI answers
    model: str
    written_at: int  #: when the model had written it
    acted: bool = False  #: tools have acted for it: it is not given up for a newer message any more
    closes: bool = False  #: the conversation, unless something newer waits
    handover: Handover | None = None  #: its text says so to the customer; what it is for is not answered by it


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """What one request to a model cost, whatever came of it."""

    model: str
    outcome: str
    input_tokens: int
    output_tokens: int
    duration_ms: int
    error: str | None
    is_billed: bool  #: it counts to what a message may cost
    cached_tokens: int = 0  #: of its input, that the provider had in its cache
    unheard_tokens: int = 0  #: that it may have written, and be billed for, without our having got them
    assumed_tokens: int = 0  #: of those, as many as count to what a message may cost
    cost: int | None = None  #: of all of them, in millionths of the budgets' currency; None: its price is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One part of one of our messages on its way."""

    id: int
    reference: str
    thread_id: int
    conversation_id: int
    message_id: int
    part: int
    body: str
    state: str  #: ready, sending, sent, failed, ambiguous, cancelled
    revoked: str | None  #: why it must not be sent again, once it has been looked up
    attempts: int
    attempted_at: int | None
    attempted_wall: int | None  #: the same moment by the wall clock
    settled_at: int | None
    provider_id: str | None
    error_code: str | None
    error: str | None
    delivery: str | None
    delivery_at: int | None
    arrived: bool  #: the channel has said so once
    resend_of: int | None  #: the part that did not arrive, of which this is the next send
    author: str
    confirms_opt_out: bool  #: the one thing that is sent after an opt-out
    says_handover: bool  #: the one thing of the AI's that is sent while a person of ours is awaited
    committed_at: int
    channel: str
    address: str
    our_address: str
    template_sid: str | None = None  #: it is sent as this template, and `body` is what the person reads
    template_variables: str | None = None
