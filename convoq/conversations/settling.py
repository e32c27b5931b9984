"""What becomes of messages and parts whose job ends otherwise than by running: the one place for all such endings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from convoq.conversations.states import Outcome
from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import EndedJob, Ending

CANCELLED: Final = "cancelled"  #: the error_code of a part that an operator has stopped


def settle(tx: Transaction, ending: Ending, jobs: Sequence[EndedJob]) -> Sequence[NewJob]:
    """Called in the transaction that ends the jobs, or revives them.

    A buried job's messages have failed. A cancelled or discarded one's get no answer, and of what it would have sent
    nothing goes out any more but a request that is on its way. A retry takes that back.
    """
    for job_id in (job.id for job in jobs):
        match ending:
            case Ending.BURIED:
                tx.execute(CONCLUDE, (Outcome.FAILED, job_id))
            case Ending.CANCELLED | Ending.DISCARDED:
                tx.execute(CONCLUDE, (Outcome.CANCELLED, job_id))
                tx.execute(STOP_PARTS, {"code": CANCELLED, "source": f"job:{job_id}", "job": job_id})
            case Ending.RETRIED:
                tx.execute(REVIVE_PARTS, {"code": CANCELLED, "source": f"job:{job_id}", "job": job_id})
    return ()


CONCLUDE = "UPDATE messages SET outcome = ? WHERE job_id = ? AND direction = 'in' AND outcome IS NULL"

# Parts of the message that the job is to send itself, or of the reply that it has committed: found from the few parts
# that are pending, or were stopped. A part under way counts as stopped too: if it was sent, its status will say so.
PARTS_OF_JOB = """
    id IN (SELECT o.id FROM outbox AS o CROSS JOIN messages AS m ON m.id = o.message_id
           WHERE {state} AND (m.source = :source OR EXISTS
           (SELECT 1 FROM messages AS asked WHERE asked.conversation_id = o.conversation_id
            AND asked.answered_by = o.message_id AND asked.job_id = :job)))
"""
STOP_PARTS = f"""
    UPDATE outbox SET state = 'failed', error = 'an operator has cancelled it', error_code = :code
    WHERE {PARTS_OF_JOB.format(state="o.state IN ('ready', 'sending', 'ambiguous')")}
"""
REVIVE_PARTS = f"""
    UPDATE outbox SET state = CASE WHEN attempts = 0 THEN 'ready' ELSE 'ambiguous' END, error = NULL, error_code = NULL
    WHERE {PARTS_OF_JOB.format(state="o.state = 'failed' AND o.error_code = :code")}
"""
