"""One turn, step by step: what was written, asked of models, given up, and sent. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.queries import Line, SavedDraft, read_line
from convoq.conversations.records import Conversation, Message
from convoq.db.transaction import Transaction


class TracedCall(NamedTuple):
    """A request to a model. Times are ms; money is in millionths of the currency."""

    through: int
    model: str
    outcome: str
    at: int  #: when it began
    duration_ms: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    unheard_tokens: int
    cost: int | None
    currency: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTrace:
    """Each tuple oldest first."""

    conversation: Conversation
    asked: tuple[Message, ...]  #: what it answers, or is to answer
    reply: Line | None  #: None: there is none, or none yet
    drafts: tuple[SavedDraft, ...]
    calls: tuple[TracedCall, ...]


def read_turn(tx: Transaction, message_id: int) -> TurnTrace | None:
    """The one that this message asks for, or is the answer of. None: there is no such message."""
    line = read_line(tx, message_id)
    if line is None:
        return None
    reply: Line | None = line
    if line.message.direction == "in":
        answered_by = line.message.answered_by
        reply = None if answered_by is None else read_line(tx, answered_by)
    conversation = rows.conversation(tx, line.conversation_id)
    if reply is not None:
        values = {"conversation": conversation.id, "reply": reply.message.id, "limit": MOST_ASKED}
        asked = [rows.to_message(row) for row in tx.execute(ASKED, values).fetchall()]
    elif line.message.outcome is None:
        asked = rows.waiting(tx, conversation.thread_id, "true", MOST_ASKED)
    else:
        asked = [line.message]
    span = {
        "conversation": line.conversation_id, "first": asked[0].id if asked else 0,
        "last": asked[-1].id if asked else 0,
    }  # fmt: skip
    return TurnTrace(
        conversation=conversation,
        asked=tuple(asked),
        reply=reply,
        drafts=tuple(
            SavedDraft(through=through, state=state, text=text, model=model, at=at)
            for through, state, text, model, at in tx.execute(DRAFTS, span).fetchall()
        ),
        calls=tuple(TracedCall(*row) for row in tx.execute(CALLS, span).fetchall()),
    )


MOST_ASKED: Final = 500  #: messages before an answer in which those that it answers are looked for
ASKED: Final = f"""
    {rows.MESSAGE} WHERE m.answered_by = :reply AND m.id IN (
        SELECT id FROM messages WHERE conversation_id = :conversation AND id < :reply ORDER BY id DESC LIMIT :limit)
    ORDER BY m.id
"""
DRAFTS: Final = """
    SELECT through_id, state, text, model, created_at FROM drafts
    WHERE conversation_id = :conversation AND through_id BETWEEN :first AND :last ORDER BY id
"""
CALLS: Final = """
    SELECT through_id, model, outcome, at, duration_ms, input_tokens, cached_tokens, output_tokens, unheard_tokens,
        cost, currency, error
    FROM model_calls WHERE conversation_id = :conversation AND through_id BETWEEN :first AND :last ORDER BY id
"""
