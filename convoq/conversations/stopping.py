"""What waits gets no answer and what pends is not sent: what a STOP, a burial or an operator makes of rows."""

from __future__ import annotations

from typing import NamedTuple

from convoq.conversations import rows
from convoq.conversations.states import Outcome
from convoq.db.transaction import Transaction


class Stop(NamedTuple):
    """Why parts must not go out any more, and what that makes of those that have not begun to."""

    state: str  #: failed, cancelled
    code: str
    reason: str


def conclude_waiting(
    tx: Transaction, thread_id: int, outcome: Outcome, reason: str | None = None, ended_by: str | None = None
) -> None:
    """What waits in the thread gets no answer."""
    tx.execute(
        """UPDATE messages SET outcome = ?, reason = ?, ended_by = ?
           WHERE thread_id = ? AND direction = 'in' AND outcome IS NULL""",
        (outcome, reason, ended_by, thread_id),
    )


def stop_parts(
    tx: Transaction, thread_id: int, stop: Stop, now: int, ended_by: str | None = None,
    *, author: str | None = None, message_id: int | None = None, spare_confirmation: bool = False,
) -> int:  # fmt: skip
    """Of the thread's parts (of one author, of one message) none is sent any more; how many were to be.

    A part that is under way is revoked: looked up, and if it was not sent given up. With `spare_confirmation` what
    confirms an opt-out is left alone.
    """
    values = {
        "state": stop.state, "code": stop.code, "reason": stop.reason, "now": now, "by": ended_by,
        "thread": thread_id, "author": author, "message": message_id, "spare": spare_confirmation,
    }  # fmt: skip
    stopped = tx.execute(STOP_READY, values).rowcount
    return stopped + tx.execute(REVOKE_UNDER_WAY, values).rowcount


def forget_stopped(tx: Transaction, thread_id: int) -> None:
    """No retry revives what was to be sent in the thread before."""
    tx.execute(
        "UPDATE outbox SET ended_by = NULL WHERE ended_by IS NOT NULL AND thread_id = ? AND state <> 'sent'",
        (thread_id,),
    )


TO_STOP = f"""
    thread_id = :thread AND state IN ('ready', 'sending', 'ambiguous') AND message_id = coalesce(:message, message_id)
    AND (CAST(:author AS TEXT) IS NULL OR (SELECT author FROM messages AS m WHERE m.id = message_id) = :author)
    AND NOT (:spare = 1 AND (SELECT source FROM messages AS m WHERE m.id = message_id) LIKE '{rows.OPT_OUT}%')
"""
STOP_READY = f"""
    UPDATE outbox SET state = :state, error_code = :code, error = :reason, settled_at = :now, ended_by = :by
    WHERE {TO_STOP} AND state = 'ready'
"""
# What a STOP has revoked stays so, whatever an operator cancels and retries since.
REVOKE_UNDER_WAY = f"""
    UPDATE outbox SET revoked = CASE revoked WHEN 'opted_out' THEN revoked ELSE :code END,
        ended_by = CASE revoked WHEN 'opted_out' THEN NULL ELSE :by END
    WHERE {TO_STOP} AND state <> 'ready'
"""
