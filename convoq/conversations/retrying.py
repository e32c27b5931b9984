"""Whether the retry of a job would do anything: what a STOP has ended stays so, and an operator is to hear it."""

from __future__ import annotations

from typing import Final

from convoq.conversations import rows
from convoq.conversations.threads import find_thread
from convoq.db.transaction import Transaction
from convoq.jobs import ProcessAiResponse, SendMessage

OPTED_OUT: Final = "the person has opted out; retry it once they have written START, or discard it"
NOTHING_LEFT: Final = "nothing of it is left to be answered or sent, as after a STOP; discard it"


def why_retry_is_useless(tx: Transaction, job_id: str, kind: str, payload: str) -> str | None:
    """None: it may well do something."""
    thread_id = _thread_of(tx, kind, payload)
    if thread_id is None:
        return None
    if tx.execute(OPTED_OUT_AT, (thread_id,)).fetchone()[0] is not None:
        return OPTED_OUT
    if kind == ProcessAiResponse.kind and not (rows.is_unsettled(tx, thread_id) or _revives(tx, job_id)):
        return NOTHING_LEFT
    return None


def _thread_of(tx: Transaction, kind: str, payload: str) -> int | None:
    try:
        if kind == SendMessage.kind:
            message = SendMessage.model_validate_json(payload)
            thread = find_thread(tx, message.channel, message.our_address, message.address)
            return None if thread is None else thread.id
        if kind == ProcessAiResponse.kind:
            thread_id = ProcessAiResponse.model_validate_json(payload).thread
            known = tx.execute("SELECT 1 FROM threads WHERE id = ?", (thread_id,)).fetchone()
            return thread_id if known else None
    except ValueError:
        pass  # its handler cannot read it either, and its next dead letter says so
    return None


def _revives(tx: Transaction, job_id: str) -> bool:
    return tx.execute(REVIVED, {"job": job_id}).fetchone() is not None


OPTED_OUT_AT: Final = """
    SELECT p.opted_out_at FROM threads AS t JOIN contacts AS p ON p.id = t.contact_id WHERE t.id = ?
"""
REVIVED: Final = """
    SELECT 1 FROM messages WHERE ended_by = :job AND outcome IN ('failed', 'cancelled')
    UNION ALL SELECT 1 FROM outbox WHERE ended_by = :job AND state <> 'sent' LIMIT 1
"""
