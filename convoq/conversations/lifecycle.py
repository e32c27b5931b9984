"""How conversations begin, end and come back; every change is written down with who and why."""

from __future__ import annotations

from typing import Final

from convoq.conversations.alarms import follow_transition
from convoq.conversations.states import CloseReason, HandedReason, Owner, Status, check_transition
from convoq.db.transaction import Transaction

#: Who closed it for one of these has not told the customer to begin anew.
REOPENED: Final = (CloseReason.USER, CloseReason.AI, CloseReason.IDLE, CloseReason.EXPIRED)


def open_conversation(tx: Transaction, thread_id: int, at: int, now: int, *, who: str, reopen_within: int = 0) -> int:
    """The thread's open conversation, made active; reopened or begun where there is none.

    `reopen_within`: ms after its closing in which a conversation is gone on with."""
    last = tx.execute(
        "SELECT id, status, closed_reason, closed_at FROM conversations WHERE thread_id = ? ORDER BY id DESC LIMIT 1",
        (thread_id,),
    ).fetchone()
    if last is not None:
        conversation_id, status, reason, closed_at = last
        # Accepted before upkeep closed it: the person never knew of a closing, so it is the same conversation.
        overtaken = status == Status.CLOSED and reason in (CloseReason.IDLE, CloseReason.EXPIRED) and at <= closed_at
        reopened = status == Status.CLOSED and reason in REOPENED and at < closed_at + reopen_within
        if status == Status.IDLE or overtaken or reopened:
            move(tx, conversation_id, Status.ACTIVE, who=who, why="a message came", now=now)
        if status != Status.CLOSED or overtaken or reopened:
            return int(conversation_id)
    return _begin(tx, thread_id, at, last[0] if last else None, who, now)


def _begin(tx: Transaction, thread_id: int, at: int, previous: int | None, who: str, now: int) -> int:
    values = {"thread": thread_id, "at": at, "previous": previous}
    (conversation_id,) = tx.execute(BEGIN, values).fetchone()
    owner = Owner.AI if previous is None else _inherit_owner(tx, conversation_id, previous, now)
    log_transition(tx, conversation_id, now, who, "opened", (None, owner), (None, Status.ACTIVE))
    return int(conversation_id)


def _inherit_owner(tx: Transaction, conversation_id: int, previous: int, now: int) -> Owner:
    """After a STOP and a START the conversation has the owner that it had before; what nobody was to answer stays so
    until an operator ends it.
    """
    reason, owner = tx.execute("SELECT closed_reason, owner FROM conversations WHERE id = ?", (previous,)).fetchone()
    stopped = owner == Owner.NOBODY and reason == CloseReason.OPTED_OUT
    aside = owner == Owner.NOBODY and reason != CloseReason.OPERATOR and _is_aside(tx, previous)
    before = owner_before(tx, previous) if stopped or aside else Owner.AI
    if before is not Owner.AI:
        values = {"owner": before, "now": now, "previous": previous, "id": conversation_id}
        tx.execute(INHERIT_OWNER, values)
    return before


def owner_before(tx: Transaction, conversation_id: int) -> Owner:
    """The owner that the conversation had when it was stopped; for a person of ours who was removed since, another one
    is awaited."""
    if _is_aside(tx, conversation_id):
        return Owner.NOBODY
    found = tx.execute(OWNER_BEFORE, (conversation_id,)).fetchone()
    return Owner(found[0]) if found else Owner.AI


def _is_aside(tx: Transaction, conversation_id: int) -> bool:
    """Whether an operator has left it to nobody."""
    (reason,) = tx.execute("SELECT handed_reason FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    return bool(reason == HandedReason.SET_ASIDE)


def move(
    tx: Transaction, conversation_id: int, after: Status, *, who: str, why: str, now: int,
    reason: CloseReason | None = None, owner: Owner | None = None,
) -> None:  # fmt: skip
    """Changes the status, and the owner where one is given, and writes down who did it and why."""
    answered, before = tx.execute("SELECT owner, status FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if before == after:
        return
    check_transition(Status(before), after)
    closed_at = now if after is Status.CLOSED else None
    tx.execute(
        "UPDATE conversations SET status = ?, closed_reason = ?, closed_at = ? WHERE id = ?",
        (after, reason, closed_at, conversation_id),
    )
    if owner is not None:
        tx.execute(MOVE_OWNER, (owner, now, conversation_id))
    log_transition(tx, conversation_id, now, who, why, (answered, owner or answered), (before, after))


def touch(tx: Transaction, conversation_id: int, at: int) -> None:
    """Something was said: the conversation's silence begins anew."""
    tx.execute(
        "UPDATE conversations SET last_message_at = :at WHERE id = :conversation AND last_message_at < :at",
        {"at": at, "conversation": conversation_id},
    )


def log_transition(
    tx: Transaction, conversation_id: int, now: int, who: str, why: str,
    owner: tuple[str | None, str], status: tuple[str | None, str], code: str | None = None,
) -> None:  # fmt: skip
    """`code`: why a person of ours is awaited, for figures."""
    tx.execute(
        """INSERT INTO transitions
               (conversation_id, at, who, reason, owner_before, owner_after, status_before, status_after, code)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (conversation_id, now, who, why, *owner, *status, code),
    )
    follow_transition(tx, conversation_id, now, who, owner, status)


BEGIN = """
    INSERT INTO conversations (thread_id, owner, status, opened_at, last_message_at, previous_id)
    VALUES (:thread, 'ai', 'active', :at, :at, :previous) RETURNING id
"""
MOVE_OWNER = """
    UPDATE conversations SET owner = ?, owner_at = ?, owner_version = owner_version + 1 WHERE id = ?
"""
INHERIT_OWNER = """
    UPDATE conversations SET owner = :owner, owner_at = :now, owner_acted_at = :now, owner_version = 1,
        owner_name = CASE WHEN :owner = 'human'
                     THEN (SELECT b.owner_name FROM conversations AS b WHERE b.id = :previous) END,
        handed_reason = CASE WHEN :owner <> 'human'
                        THEN (SELECT coalesce(b.handed_reason, 'unattended') FROM conversations AS b
                              WHERE b.id = :previous) END
    WHERE id = :id
"""
OWNER_BEFORE = """
    SELECT CASE WHEN t.owner_before = 'human' AND EXISTS (
               SELECT 1 FROM conversations AS c JOIN operators AS o ON o.name = c.owner_name
               WHERE c.id = t.conversation_id AND o.removed_at IS NOT NULL) THEN 'waiting' ELSE t.owner_before END
    FROM transitions AS t
    WHERE t.conversation_id = ? AND t.owner_after = 'nobody' AND t.owner_before <> 'nobody' ORDER BY t.id DESC LIMIT 1
"""
