"""Whether the retry of a job would do anything: what a STOP has ended stays so, and an operator is to hear it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from convoq.conversations import rows
from convoq.conversations.consent import has_opted_out
from convoq.conversations.threads import Thread, contact_of, find_thread, get_thread
from convoq.db.transaction import Transaction
from convoq.jobs import ProcessAiResponse, SendMessage

OPTED_OUT: Final = "the person has opted out; retry it once they have written START, or discard it"
NOTHING_LEFT: Final = "nothing of it is left to be answered or sent, as after a STOP; discard it"


def useless_retries(tx: Transaction, jobs: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Of jobs (id, kind, payload) those whose retry would answer and send nothing, and why."""
    found = ((job_id, _why_useless(tx, job_id, kind, payload)) for job_id, kind, payload in jobs)
    return {job_id: why for job_id, why in found if why is not None}


def _why_useless(tx: Transaction, job_id: str, kind: str, payload: str) -> str | None:
    """None: it may well do something."""
    thread = _thread_of(tx, kind, payload)
    if thread is None:
        return None
    if has_opted_out(tx, contact_of(tx, thread.id)):
        return None if tx.execute(CONFIRMS, {"thread": thread.id, "job": job_id}).fetchone() else OPTED_OUT
    if kind == ProcessAiResponse.kind and not (rows.is_unsettled(tx, thread.id) or _revives(tx, job_id)):
        return NOTHING_LEFT
    return None


def _thread_of(tx: Transaction, kind: str, payload: str) -> Thread | None:
    try:
        if kind == SendMessage.kind:
            message = SendMessage.model_validate_json(payload)
            return find_thread(tx, message.channel, message.our_address, message.address)
        if kind == ProcessAiResponse.kind:
            return get_thread(tx, ProcessAiResponse.model_validate_json(payload).thread)
    except ValueError:
        pass  # its handler cannot read it either, and its next dead letter says so
    return None


def _revives(tx: Transaction, job_id: str) -> bool:
    return tx.execute(REVIVED, {"job": job_id}).fetchone() is not None


# What confirms the opt-out is the one thing that still goes out. What pends has a turn of its own.
CONFIRMS: Final = f"""
    SELECT 1 FROM outbox AS o JOIN messages AS m ON m.id = o.message_id
    WHERE o.thread_id = :thread AND m.source LIKE '{rows.OPT_OUT}%' AND o.ended_by = :job
        AND o.state <> 'sent' AND o.arrived = 0
"""
REVIVED: Final = """
    SELECT 1 FROM messages WHERE ended_by = :job AND outcome IN ('failed', 'cancelled')
    UNION ALL SELECT 1 FROM outbox WHERE ended_by = :job AND state <> 'sent' AND arrived = 0 LIMIT 1
"""
