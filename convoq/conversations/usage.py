"""What models have cost, request by request, and what of it counts to which message."""

from __future__ import annotations

from convoq.conversations.records import ModelUsage, Turn
from convoq.db.transaction import Transaction


def record_usage(tx: Transaction, turn: Turn, usage: ModelUsage, now: int) -> None:
    tx.execute(
        """INSERT INTO model_calls
               (conversation_id, through_id, model, outcome, input_tokens, output_tokens, duration_ms, error, at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            *(turn.conversation.id, turn.through, usage.model, usage.outcome),
            *(usage.input_tokens, usage.output_tokens, usage.duration_ms, usage.error, now),
        ),
    )
    if usage.is_billed:
        tx.executemany(
            "UPDATE messages SET requests = requests + 1, output_tokens = output_tokens + ? WHERE id = ?",
            [(usage.output_tokens, message.id) for message in turn.shown],
        )
