"""One turn: what was asked, tried, given up and said, step by step."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from convoq.console.conversation_models import Conversation, Draft, Message, ModelCall
from convoq.console.endpoints import Answer, Asked, Document, Endpoint, NoBody, NoQuery, Site, not_found
from convoq.conversations.access import AccessRole
from convoq.conversations.tracing import read_turn
from convoq.monitoring.turn_documents import turn_document


class Step(Document):
    at: str
    seconds: float = Field(description="Since the first step")
    what: str = Field(description="accepted, model, given_up, committed, sent, not_sent, delivery")
    lasted_seconds: float | None
    detail: str | None
    message_id: int | None


class PricedCall(ModelCall):
    cached_tokens: int
    cut_off_tokens: int
    cost_millionths: int | None = Field(description="Of the currency; null: its price is not known")
    currency: str | None


class Turn(Document):
    conversation: Conversation
    answers: list[int] = Field(description="The messages that it answers, or is to answer")
    tries: int
    reply: Message | None = Field(description="Null: there is none, or none yet")
    answered_in_seconds: float | None = Field(description="From its last message to the first part that was sent")
    model_seconds: float
    cost_millionths: int
    currency: str | None
    unpriced_requests: int
    steps: list[Step]
    drafts: list[Draft] = Field(description="Also those that were given up for a newer message")
    model_calls: list[PricedCall]


async def get_turn(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    trace = await site.database.read(read_turn, asked.id_of("message"))
    if trace is None:
        raise not_found("message")
    return Answer(turn_document(trace))


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/messages/{id}/turn", role=AccessRole.VIEWER, handle=get_turn, answer=Turn,
        summary="The turn that a message asked for or is the answer of, step by step",
    ),
)  # fmt: skip
