"""The owner of a conversation. Each change is one row with its author, reason and time; what the AI would still say
ends with it, and what is unanswered waits again when the AI has it back."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.erased import is_erased
from convoq.conversations.lifecycle import log_transition, move, touch
from convoq.conversations.records import Conversation
from convoq.conversations.rules import MUTED
from convoq.conversations.states import CloseReason, HandedReason, Outcome, Owner, Status
from convoq.conversations.stopping import Stop, conclude_waiting, stop_parts
from convoq.conversations.threads import Thread, take_token
from convoq.db.transaction import Transaction
from convoq.errors import ConvoqError
from convoq.text import local_time


class ActRefused(ConvoqError):
    """What a person of ours asked for is not done, and nothing of it is."""

    def __init__(self, code: str, reason: str, conversation: Conversation | None = None) -> None:
        super().__init__(reason)
        #: not_owner, stale, closed, opted_out, blocked, erased, window, paused, text, template, unchanged, operator,
        #: token, key_reused
        self.code = code
        self.conversation = conversation  #: whose owner is in the way


class Change(NamedTuple):
    """A change of the owner."""

    conversation: Conversation  #: as it is now
    before: Owner
    unsent: int = 0  #: parts of the AI's that now never go out, as far as they had not begun to
    under_way: int = 0  #: those whose request had begun: they may have left
    returned: int = 0  #: messages that wait for the AI again


def take_over(
    tx: Transaction, conversation_id: int, name: str, now: int, *, force: bool = False, version: int | None = None
) -> Change:
    """From its commit on nothing of the AI's goes out that had not left. Raises ActRefused, LookupError.

    `force`: also from another person of ours. `version`: only if the owner has not changed since it was that.
    """
    conversation = _changeable(tx, conversation_id, name, force=force, version=version)
    if conversation.owner is Owner.HUMAN and conversation.owner_name == name:
        note_act(tx, conversation_id, now)
        # What a retry of a job has brought back meanwhile. Their own texts keep the token that they are sent under.
        unsent, under_way = mute(tx, conversation.thread_id, now, f"{name} has taken over")
        return Change(rows.conversation(tx, conversation_id), Owner.HUMAN, unsent, under_way)
    set_owner(tx, conversation, Owner.HUMAN, who=name, why="took over", now=now, name=name)
    return _muted(tx, conversation, now, f"{name} took over")


def leave(
    tx: Transaction, conversation_id: int, name: str, now: int, *, force: bool = False, version: int | None = None
) -> Change:
    """It waits for a colleague, and the AI is silent. Raises ActRefused, LookupError."""
    conversation = _changeable(tx, conversation_id, name, force=force, version=version)
    if conversation.owner is Owner.WAITING:
        raise ActRefused("unchanged", f"conversation {conversation_id} waits for a person already")
    why, reason = "left it to a colleague", HandedReason.OTHER
    set_owner(tx, conversation, Owner.WAITING, who=name, why=why, now=now, reason=reason)
    return _muted(tx, conversation, now, f"{name} {why}")


def set_aside(
    tx: Transaction, conversation_id: int, name: str, now: int, *, force: bool = False, version: int | None = None
) -> Change:
    """Nobody answers it, until an operator takes it or gives it to the AI. Raises ActRefused, LookupError."""
    conversation = _changeable(tx, conversation_id, name, force=force, version=version)
    if conversation.owner is Owner.NOBODY:
        raise ActRefused("unchanged", f"nobody answers conversation {conversation_id} already")
    why = "left it to nobody"
    set_owner(tx, conversation, Owner.NOBODY, who=name, why=why, now=now, reason=HandedReason.SET_ASIDE)
    change = _muted(tx, conversation, now, f"{name} {why}")
    tx.execute(SETTLE_FOR_GOOD, (f"{name} {why}", conversation_id))
    return change


def release(
    tx: Transaction, conversation_id: int, name: str, now: int, *, force: bool = False, version: int | None = None
) -> Change:
    """The AI has it back. Raises ActRefused, LookupError."""
    conversation = _changeable(tx, conversation_id, name, force=force, version=version)
    if conversation.owner is Owner.AI:
        raise ActRefused("unchanged", f"conversation {conversation_id} is answered by ai already")
    if conversation.is_paused:
        raise ActRefused("paused", f"the AI is paused in conversation {conversation_id}: resume it first")
    return give_back(tx, conversation, who=name, why="gave it back", now=now)


def give_back(tx: Transaction, conversation: Conversation, *, who: str, why: str, now: int) -> Change:
    """What is unanswered waits again, but what came while nobody was to answer; its turn is to be enqueued in this
    transaction.
    """
    if conversation.owner is Owner.NOBODY:
        tx.execute(SETTLE_FOR_GOOD, ("nobody was to answer it", conversation.id))
    set_owner(tx, conversation, Owner.AI, who=who, why=why, now=now)
    returned = 0 if conversation.owner is Owner.NOBODY else _return_unanswered(tx, conversation.id)
    if returned:
        tx.execute("UPDATE threads SET superseded = 0 WHERE id = ?", (conversation.thread_id,))
    return Change(rows.conversation(tx, conversation.id), conversation.owner, returned=returned)


def take_back_unsent(tx: Transaction, conversation_id: int) -> None:
    """As at the give-back, once it is known that a part never left that was on its way then."""
    if rows.conversation(tx, conversation_id).owner is Owner.AI:
        _return_unanswered(tx, conversation_id)


def close(tx: Transaction, conversation_id: int, name: str, now: int, *, force: bool = False) -> Change:
    """It is over: nothing of the AI's goes out any more, and the next message begins another one. Raises ActRefused."""
    conversation = _open(tx, conversation_id)
    require_mine(conversation, name, force=force)
    change = _muted(tx, conversation, now, f"{name} closed the conversation")
    # It is not going to be answered: it is not what a give-back brings back.
    tx.execute(SETTLE_FOR_GOOD, (f"{name} closed the conversation", conversation_id))
    move(tx, conversation_id, Status.CLOSED, who=name, why="closed", now=now, reason=CloseReason.OPERATOR)
    return change._replace(conversation=rows.conversation(tx, conversation_id))


def reopen(tx: Transaction, conversation_id: int, name: str, now: int) -> Change:
    """It goes on, with whom it had; what was left unanswered stays so. Raises ActRefused, LookupError."""
    conversation = rows.conversation(tx, conversation_id)
    if conversation.status is not Status.CLOSED:
        raise ActRefused("unchanged", f"conversation {conversation_id} is not closed")
    require_reachable(conversation)
    (newest,) = tx.execute(
        "SELECT max(id) FROM conversations WHERE thread_id = ?", (conversation.thread_id,)
    ).fetchone()
    if newest != conversation_id:
        raise ActRefused(
            "closed", f"the person went on in conversation {newest}: conversation {conversation_id} stays closed"
        )
    stopped = conversation.owner is Owner.NOBODY and conversation.handed_reason != HandedReason.SET_ASIDE
    owner = Owner.AI if stopped else None
    move(tx, conversation_id, Status.ACTIVE, who=name, why="reopened", now=now, owner=owner)
    # Its silence begins anew: else it would be closed again at once.
    touch(tx, conversation_id, now)
    return Change(rows.conversation(tx, conversation_id), conversation.owner)


def set_owner(
    tx: Transaction, conversation: Conversation, owner: Owner, *, who: str, why: str, now: int,
    name: str | None = None, reason: str | None = None,
) -> None:  # fmt: skip
    """Writes down the change. One that takes the owner away keeps name and reason, for the next owner, unless it has a
    reason of its own.
    """
    tx.execute(SET_OWNER, {
        "owner": owner, "name": name, "now": now, "reason": reason, "id": conversation.id, "nobody": Owner.NOBODY,
    })  # fmt: skip
    status = (conversation.status, conversation.status)
    code = reason if owner is Owner.WAITING else None
    log_transition(tx, conversation.id, now, who, why, (conversation.owner, owner), status, code)


def note_act(tx: Transaction, conversation_id: int, now: int) -> None:
    """The person of ours who has it is there."""
    tx.execute("UPDATE conversations SET owner_acted_at = ? WHERE id = ? AND owner = 'human'", (now, conversation_id))


def mute(tx: Transaction, thread_id: int, now: int, why: str) -> tuple[int, int]:
    """Nothing of the AI's goes out in the thread any more; how many parts had not begun to, how many had.

    What waits is for a person of ours. The turn that is under way may still write: else take its token.
    """
    conclude_waiting(tx, thread_id, Outcome.HUMAN)
    unsent = stop_parts(tx, thread_id, Stop("cancelled", "not_owner", why), now, author="ai")
    tx.execute("UPDATE threads SET superseded = 0 WHERE id = ?", (thread_id,))
    (under_way,) = tx.execute(UNDER_WAY, (thread_id,)).fetchone()
    return unsent - under_way, under_way


def require_mine(conversation: Conversation, name: str, *, force: bool) -> None:
    """Raises ActRefused where another person of ours has it."""
    if conversation.owner is Owner.HUMAN and conversation.owner_name not in (None, name) and not force:
        since = f", since {local_time(conversation.owner_since)}" if conversation.owner_since else ""
        reason = f"{conversation.owner_name} answers conversation {conversation.id}{since}"
        raise ActRefused("not_owner", reason, conversation)


def require_version(conversation: Conversation, version: int | None) -> None:
    """Raises ActRefused where its owner has changed since it was that version."""
    if version is not None and version != conversation.owner_version:
        who = conversation.owner_name if conversation.owner is Owner.HUMAN else conversation.owner
        reason = f"conversation {conversation.id} has changed meanwhile: {who} answers it now"
        raise ActRefused("stale", reason, conversation)


def require_reachable(conversation: Conversation) -> None:
    """Raises ActRefused where nothing may be said to the contact, whatever the owner."""
    contact = conversation.contact
    if is_erased(contact.address):
        raise ActRefused("erased", "the person was erased: nothing can be written to them from here")
    if contact.opted_out_at is not None:
        raise ActRefused("opted_out", "the person has opted out: only their START lets messages through again")
    if contact.blocked_at is not None:
        raise ActRefused("blocked", "the person is blocked: convoq contacts unblock")


def _changeable(tx: Transaction, conversation_id: int, name: str, *, force: bool, version: int | None) -> Conversation:
    """What this operator may change the owner of. Raises ActRefused, LookupError."""
    conversation = _open(tx, conversation_id)
    require_version(conversation, version)
    require_mine(conversation, name, force=force)
    require_reachable(conversation)
    return conversation


def _open(tx: Transaction, conversation_id: int) -> Conversation:
    conversation = rows.conversation(tx, conversation_id)
    if conversation.status is not Status.CLOSED:
        return conversation
    newer = tx.execute(NEWEST_OPEN, (conversation.thread_id,)).fetchone()
    then = f"; it goes on in conversation {newer[0]}" if newer else ""
    raise ActRefused("closed", f"conversation {conversation_id} is closed ({conversation.closed_reason}){then}")


def _muted(tx: Transaction, conversation: Conversation, now: int, why: str) -> Change:
    take_token(tx, conversation.thread_id)
    unsent, under_way = mute(tx, conversation.thread_id, now, why)
    return Change(rows.conversation(tx, conversation.id), conversation.owner, unsent, under_way)


def _return_unanswered(tx: Transaction, conversation_id: int) -> int:
    """What waits again: what no person of ours has answered, and what an answer was for that never left."""
    found = tx.execute(NEWEST_ANSWER, (conversation_id,)).fetchone()
    if found is not None:
        since = tx.execute(ANSWERED_SINCE, (conversation_id, found[0])).fetchone()
        _take_back(tx, found[0], since[0] if since else None)
    return tx.execute(RETURN, (conversation_id,)).rowcount


def _take_back(tx: Transaction, answer: int, instead: int | None) -> None:
    """The answer that was on its way when the AI fell silent: what has begun to leave goes on, what has not is void.

    Its rest only if the customer has not written on: then that is answered. `instead`: what a person of ours has said
    since, which was the answer.
    """
    states = list(tx.execute(PARTS_OF, (answer,)))
    if all(state == "cancelled" and code in MUTED for state, code in states):
        tx.execute(VOID, (rows.MUTED, answer))
        tx.execute(UNANSWER, {"answer": answer, "instead": instead})
    elif instead is None:
        tx.execute(GO_ON, {"answer": answer})


def thread_of(conversation: Conversation) -> Thread:
    """Where its turns are due."""
    return Thread(conversation.thread_id, conversation.lane)


SET_OWNER: Final = """
    UPDATE conversations SET owner = :owner, owner_at = :now, owner_version = owner_version + 1, told_at = NULL,
        owner_acted_at = :now,
        owner_name = CASE WHEN :owner = :nobody THEN owner_name ELSE :name END,
        handed_reason = coalesce(:reason, CASE WHEN :owner = :nobody THEN handed_reason END)
    WHERE id = :id
"""
NEWEST: Final = "SELECT max(id) FROM conversations WHERE thread_id = ?"
NEWEST_OPEN: Final = "SELECT id FROM conversations WHERE thread_id = ? AND status <> 'closed'"
UNDER_WAY: Final = f"""
    SELECT count(*) FROM outbox AS o WHERE o.thread_id = ? AND {rows.PENDS} AND o.revoked = 'not_owner'
"""
SETTLE_FOR_GOOD: Final = f"""
    UPDATE messages SET outcome = 'no_reply', reason = ? WHERE conversation_id = ? AND {rows.FOR_PERSON}
"""
# Anew, with all that an answer may cost: as after an operator's retry.
RETURNED: Final = """
    outcome = NULL, reason = NULL, answered_by = NULL, ended_by = NULL, tries = 0, failures = 0, retry_at = 0,
    requests = 0, output_tokens = 0, returned = returned + 1
"""
RETURN: Final = f"UPDATE messages SET {RETURNED} WHERE conversation_id = ? AND {rows.FOR_PERSON}"
# Nothing is committed while a part pends, so only the newest can have been on its way.
NEWEST_ANSWER: Final = """
    SELECT id FROM messages WHERE conversation_id = ? AND direction = 'out' AND source LIKE 'turn:%'
    ORDER BY id DESC LIMIT 1
"""
ANSWERED_SINCE: Final = """
    SELECT id FROM messages WHERE conversation_id = ? AND id > ? AND direction = 'out' AND author = 'operator'
    ORDER BY id LIMIT 1
"""
PARTS_OF: Final = "SELECT state, error_code FROM outbox WHERE message_id = ?"
# Cancelled like that, a part is certainly not sent.
GO_ON: Final = """
    UPDATE outbox SET revoked = NULL, settled_at = NULL, error_code = NULL, error = NULL,
        state = CASE state WHEN 'cancelled' THEN 'ready' ELSE state END
    WHERE message_id = :answer AND (revoked = 'not_owner' AND state IN ('sending', 'ambiguous')
        OR state = 'cancelled' AND error_code IN ('not_owner', 'paused')
            AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.conversation_id = outbox.conversation_id
                            AND m.id > :answer AND m.direction = 'in'))
"""
VOID: Final = "UPDATE messages SET source = ? || source || ':' || id WHERE id = ?"
UNANSWER: Final = """
    UPDATE messages SET outcome = 'human', answered_by = CAST(:instead AS BIGINT)
    WHERE conversation_id = (SELECT conversation_id FROM messages AS m WHERE m.id = :answer)
        AND id < :answer AND answered_by = :answer
"""
