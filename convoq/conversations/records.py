"""Conversations as the rest of convoq reads them. Times are ms on the queue's clock."""

from __future__ import annotations

from dataclasses import dataclass

from convoq.conversations.states import CloseReason, Outcome, Owner, Status


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
    our_address: str
    lane: str
    owner: Owner
    status: Status
    closed_reason: CloseReason | None
    opened_at: int
    last_message_at: int
    last_inbound_at: int | None
    closed_at: int | None
    contact: Contact


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line of a conversation."""

    id: int
    direction: str  #: in, out
    author: str  #: contact, ai, operator, system
    body: str  #: exactly as written or generated
    description: str  #: as an AI or a person reads it
    at: int  #: inbound: accepted by the webhook; outbound: committed
    outcome: Outcome | None  #: inbound: what became of it; None while it waits
    answered_by: int | None
    job_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The messages of one person that wait for one answer."""

    conversation: Conversation
    waiting: tuple[Message, ...]  #: oldest first

    @property
    def through(self) -> int:
        """The last message that the answer covers."""
        return self.waiting[-1].id

    @property
    def covers(self) -> str:
        """All messages that the answer covers; with the conversation, the turn's identity."""
        return " ".join(str(message.id) for message in self.waiting)


@dataclass(frozen=True, slots=True)
class Draft:
    """The exact text that answers a turn, saved before it is sent."""

    text: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """What one request to a model cost, whatever came of it."""

    model: str
    outcome: str
    input_tokens: int
    output_tokens: int
    duration_ms: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One part of one of our messages on its way."""

    id: int
    reference: str
    conversation_id: int
    message_id: int
    part: int
    body: str
    state: str  #: ready, sending, sent, failed, ambiguous
    attempts: int
    attempted_at: int | None
    settled_at: int | None
    provider_id: str | None
    error_code: str | None
    error: str | None
    delivery: str | None
    delivery_at: int | None
    author: str
    committed_at: int
    address: str
    our_address: str
