"""What becomes of messages and parts that something else ends than a turn: the one place for all such endings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from convoq.clock import Clock
from convoq.conversations import alarms, rows
from convoq.conversations.choosing import RUN_NOW
from convoq.conversations.lifecycle import open_conversation
from convoq.conversations.notices import Notices, Silence, add_notice
from convoq.conversations.notifications import settle_notifications
from convoq.conversations.outbox import add_outgoing
from convoq.conversations.states import Outcome
from convoq.conversations.stopping import Stop, conclude_waiting, stop_parts
from convoq.conversations.threads import Thread, find_thread, get_thread, join_thread, take_token, upsert_contact
from convoq.db.transaction import Transaction
from convoq.jobs import NewJob, Payload, ProcessAiResponse, SendAgain, SendMessage, SendNotifications, turn_job
from convoq.queue.base import EndedJob, Ending
from convoq.text import last_line

P = TypeVar("P", bound=Payload)


CANCELLED: Final = Stop("cancelled", "cancelled", "an operator has cancelled it")
BURIED: Final = Stop("failed", "buried", "its job is in the dead letters")
GIVEN_UP: Final = (Ending.CANCELLED, Ending.DISCARDED)


class Settling:
    """Called in the transaction that ends jobs otherwise than by running them, revives them or lets them run at once.

    A buried job's messages and parts have failed; of a cancelled or discarded one nothing is answered or sent any more
    but a request that is under way. A retry takes exactly that back. `notices` has what a person is told whose message
    has failed; without it, nothing.
    """

    def __init__(self, clock: Clock, wall: Clock, notices: Notices | None = None) -> None:
        self._clock = clock
        self._wall = wall
        self._notices = notices

    def __call__(self, tx: Transaction, ending: Ending, jobs: Sequence[EndedJob]) -> list[NewJob]:
        """Returns the turns that are due now: they are to be enqueued in this transaction."""
        if ending is Ending.SKIPPED:
            return []  # it was never begun: nothing of it is there, and none of it is due
        now = self._clock.now()
        _follow_dead(tx, ending, jobs, now)
        threads: dict[int, Thread] = {}
        for job in jobs:
            thread = self._settle(tx, ending, job, now)
            if thread is not None:
                threads[thread.id] = thread
        return [turn_job(thread.id, thread.lane) for thread in threads.values() if rows.is_unsettled(tx, thread.id)]

    def _settle(self, tx: Transaction, ending: Ending, job: EndedJob, now: int) -> Thread | None:
        if job.kind == ProcessAiResponse.kind:
            thread = settle_turn(tx, ending, job, now)
            if ending is Ending.BURIED and thread is not None and self._notices is not None:
                _tell_of_failure(tx, job.id, self._notices, now, self._wall.now())
            return thread
        if job.kind == SendMessage.kind and ending is not Ending.RUN_NOW:
            return settle_message(tx, ending, job, now, self._wall.now())
        if job.kind == SendAgain.kind and ending is not Ending.RUN_NOW:
            settle_second_send(tx, ending, job)
        if job.kind == SendNotifications.kind:
            settle_notifications(tx, ending, job.id, now)
        return None


def _follow_dead(tx: Transaction, ending: Ending, jobs: Sequence[EndedJob], now: int) -> None:
    """Dead letters are told, but for those that tell: `convoq status` names a target that takes nothing."""
    if ending is Ending.BURIED:
        for job in jobs:
            if job.kind != SendNotifications.kind:
                alarms.job_died(tx, job.id, job.kind, now)
    elif ending in (Ending.RETRIED, Ending.DISCARDED):
        alarms.jobs_revived(tx, [job.id for job in jobs], now)


def settle_turn(tx: Transaction, ending: Ending, job: EndedJob, now: int) -> Thread | None:
    """All that waits and all replies that pend in the job's thread: turns say only where to look.

    A message of ours belongs to the job that sends it, and ends with that alone; a turn that is buried because it could
    not deliver one takes it along, though, or each burial would bring the next.
    """
    thread = _thread_of(tx, job)
    if thread is None:
        return None
    match ending:
        case Ending.BURIED:
            take_token(tx, thread.id)
            _bury_turn(tx, thread.id, job, now)
        case Ending.CANCELLED:
            take_token(tx, thread.id)
            conclude_waiting(tx, thread.id, Outcome.CANCELLED, CANCELLED.reason, job.id)
            stop_parts(tx, thread.id, CANCELLED, now, job.id, author="ai")
        case Ending.DISCARDED:
            _discard(tx, job.id)
        case Ending.RETRIED:
            _revive_messages(tx, thread.id, job.id, now)
            _revive_parts(tx, job.id)
        case Ending.RUN_NOW:
            _end_backoff(tx, thread.id)
            return None  # the turn is there
    return thread


def _end_backoff(tx: Transaction, thread_id: int) -> None:
    """What has failed is not kept waiting by the turn, which is due now; also not by one that goes on and fails."""
    tx.execute(
        "UPDATE messages SET retry_at = ? WHERE thread_id = ? AND direction = 'in' AND outcome IS NULL",
        (RUN_NOW, thread_id),
    )


def _thread_of(tx: Transaction, job: EndedJob) -> Thread | None:
    payload = _payload(ProcessAiResponse, job)
    return None if payload is None else get_thread(tx, payload.thread)


def _payload(model: type[P], job: EndedJob) -> P | None:
    """None for what its handler could not read either."""
    try:
        return model.model_validate_json(job.payload)
    except ValueError:
        return None


def _bury_turn(tx: Transaction, thread_id: int, job: EndedJob, now: int) -> None:
    """The messages that the turn has given up, the parts that it could not deliver, or else all that waits."""
    given_up = tx.execute(
        "UPDATE messages SET outcome = ?, reason = ? WHERE ended_by = ? AND direction = 'in' AND outcome IS NULL",
        (Outcome.FAILED, last_line(job.error) or None, job.id),
    )
    # What was revoked before and cannot be looked up either is given up: else each burial would bring the next.
    unknowable = tx.execute(GIVE_UP_REVOKED, {"thread": thread_id, "by": job.id, "now": now}).rowcount
    if not (given_up.rowcount or unknowable or stop_parts(tx, thread_id, BURIED, now, job.id)):
        conclude_waiting(tx, thread_id, Outcome.FAILED, last_line(job.error) or None, job.id)


def _tell_of_failure(tx: Transaction, job_id: str, notices: Notices, now: int, wall_now: int) -> None:
    """The person whose messages have failed with the job hears so, from the turn that is due then."""
    failed = "SELECT max(id) FROM messages WHERE ended_by = ? AND direction = 'in' AND outcome = 'failed'"
    (newest,) = tx.execute(failed, (job_id,)).fetchone()
    if newest is not None:
        add_notice(tx, rows.conversation_of_message(tx, newest), Silence.FAILED, notices, now, wall_now)


def settle_message(tx: Transaction, ending: Ending, job: EndedJob, now: int, wall_now: int) -> Thread | None:
    """The message that the job was to send.

    Where it ends before the message was written down, its dead letter says what was not sent, and why. What an operator
    cancels or discards is written down as cancelled: a late worker finds it known and sends nothing, and with the job
    gone nothing else would tell of it.
    """
    payload = _payload(SendMessage, job)
    if payload is None:
        return None
    thread = find_thread(tx, payload.channel, payload.our_address, payload.address)
    found = tx.execute("SELECT id FROM messages WHERE source = ?", (f"job:{job.id}",)).fetchone()
    if found is None or thread is None:
        return _record_unsent(tx, thread, payload, job, now, wall_now) if ending in GIVEN_UP else thread
    match ending:
        case Ending.BURIED:
            stop_parts(tx, thread.id, BURIED, now, job.id, message_id=found[0])
        case Ending.CANCELLED:
            take_token(tx, thread.id)
            _cancel_message(tx, thread.id, found[0], job, now)
        case Ending.DISCARDED:
            _discard(tx, job.id)
        case Ending.RETRIED:
            _revive_message(tx, found[0], job.id)
    return thread


def settle_second_send(tx: Transaction, ending: Ending, job: EndedJob) -> None:
    """What did not arrive says whether it is still to be sent again."""
    payload = _payload(SendAgain, job)
    if payload is not None:
        plan = rows.TO_BE_SENT_AGAIN if ending is Ending.RETRIED else None
        tx.execute("UPDATE outbox SET error = ? WHERE id = ? AND state = 'sent'", (plan, payload.part))


def _record_unsent(
    tx: Transaction, thread: Thread | None, payload: SendMessage, job: EndedJob, now: int, wall_now: int
) -> Thread:
    """In the thread's newest conversation, whatever has become of that: nothing is said, so none is opened or moved."""
    if thread is None:
        contact_id = upsert_contact(tx, payload.channel, payload.address, None, now)
        thread = join_thread(tx, contact_id, payload.channel, payload.our_address, payload.address)
    newest = "SELECT id FROM conversations WHERE thread_id = ? ORDER BY id DESC LIMIT 1"
    found = tx.execute(newest, (thread.id,)).fetchone()
    conversation_id = found[0] if found else open_conversation(tx, thread.id, now, now, who="system")
    body = payload.body
    message_id = add_outgoing(tx, thread.id, conversation_id, "system", f"job:{job.id}", body, [body], now, wall_now)
    _cancel_message(tx, thread.id, message_id, job, now)
    return thread


def _cancel_message(tx: Transaction, thread_id: int, message_id: int, job: EndedJob, now: int) -> None:
    stop_parts(tx, thread_id, CANCELLED, now, job.id, message_id=message_id)
    # What had ended with a turn of the thread is from here on this job's: the turn's retry leaves it alone.
    tx.execute("UPDATE outbox SET ended_by = ? WHERE message_id = ? AND ended_by IS NOT NULL", (job.id, message_id))


BEGUN = "SELECT 1 FROM outbox WHERE message_id = ? AND (attempts > 0 OR state = 'ready')"  # or is about to
GIVE_UP_REVOKED = """
    UPDATE outbox SET state = 'failed', error_code = revoked, error = 'whether it was sent could not be found out',
        settled_at = :now, ended_by = CASE revoked WHEN 'opted_out' THEN NULL ELSE :by END
    WHERE thread_id = :thread AND state IN ('ready', 'sending', 'ambiguous') AND revoked IS NOT NULL
"""


# A STOP is for ever, but for the one message that an operator asks for by name once the person is back.
TAKE_BACK_STOPPED = """
    UPDATE outbox SET ended_by = ?
    WHERE message_id = ? AND state <> 'sent' AND arrived = 0
        AND (error_code IN ('opted_out', 'cancelled', 'buried') OR revoked IS NOT NULL)
        AND (SELECT p.opted_out_at FROM threads AS t JOIN contacts AS p ON p.id = t.contact_id
             WHERE t.id = outbox.thread_id) IS NULL
"""


def _discard(tx: Transaction, job_id: str) -> None:
    """What had failed with the job has been given up by an operator, and no retry can revive it any more."""
    tx.execute(
        """UPDATE messages SET outcome = CASE outcome WHEN 'failed' THEN 'cancelled' ELSE outcome END, ended_by = NULL
           WHERE ended_by = ?""",
        (job_id,),
    )
    tx.execute(
        """UPDATE outbox SET state = CASE state WHEN 'failed' THEN 'cancelled' ELSE state END, ended_by = NULL
           WHERE ended_by = ?""",
        (job_id,),
    )


def _revive_messages(tx: Transaction, thread_id: int, job_id: str, now: int) -> None:
    """Their conversation may be over: they wait in the present one, with those after them."""
    ended = "SELECT 1 FROM messages WHERE ended_by = ? AND outcome IN ('failed', 'cancelled')"
    if tx.execute(ended, (job_id,)).fetchone() is None:
        return
    conversation_id = open_conversation(tx, thread_id, now, now, who="operator")
    tx.execute(
        """UPDATE messages SET outcome = NULL, reason = NULL, ended_by = NULL, tries = 0, failures = 0, retry_at = 0,
               requests = 0, output_tokens = 0, conversation_id = ?
           WHERE ended_by = ? AND outcome IN ('failed', 'cancelled')""",
        (conversation_id, job_id),
    )
    tx.execute("UPDATE threads SET superseded = 0 WHERE id = ?", (thread_id,))


def _revive_parts(tx: Transaction, job_id: str) -> None:
    tx.execute(
        """UPDATE outbox SET error = NULL, error_code = NULL, settled_at = NULL, revoked = NULL, ended_by = NULL,
               state = CASE WHEN state NOT IN ('failed', 'cancelled') THEN state
                       WHEN attempts = 0 THEN 'ready' ELSE 'ambiguous' END
           WHERE ended_by = ? AND state <> 'sent' AND arrived = 0""",
        (job_id,),
    )


def _revive_message(tx: Transaction, message_id: int, job_id: str) -> None:
    """One that never began to go out is written anew by its job."""
    if tx.execute(BEGUN, (message_id,)).fetchone() is not None:
        tx.execute(TAKE_BACK_STOPPED, (job_id, message_id))
        _revive_parts(tx, job_id)
        return
    # What was cancelled stays on record. (To delete it would read all messages, for those that refer to it.)
    tx.execute("UPDATE messages SET source = source || ':cancelled:' || id WHERE id = ?", (message_id,))
    tx.execute("UPDATE outbox SET ended_by = NULL WHERE message_id = ?", (message_id,))
