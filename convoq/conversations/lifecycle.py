"""How conversations begin, fall silent, end and come back; every change is written down with who and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from convoq.conversations.states import CloseReason, Owner, Status, check_transition
from convoq.db.store import Store
from convoq.db.transaction import Transaction


class Lifecycle:
    """What upkeep does to silent conversations. Safe to repeat; one transaction a batch.

    A conversation is not silent while a message in its thread waits or a part of ours is to be sent.
    """

    def __init__(self, database: Store) -> None:
        self._database = database

    async def mark_idle(self, *, silent_for: float, limit: int) -> int:
        """At most `limit` active conversations, silent for that many seconds, become idle; how many did."""
        return await self._move(Status.ACTIVE, Status.IDLE, None, silent_for, limit)

    async def close_expired(self, *, silent_for: float, limit: int) -> int:
        """At most `limit` conversations, silent for that many seconds, are closed; how many were."""
        closed = 0
        for status in (Status.ACTIVE, Status.IDLE):
            closed += await self._move(status, Status.CLOSED, CloseReason.EXPIRED, silent_for, limit - closed)
        return closed

    async def _move(
        self, before: Status, after: Status, reason: CloseReason | None, silent_for: float, limit: int
    ) -> int:
        silent_since = self._database.clock.now() - round(silent_for * 1000)
        found = await self._database.read(find_silent, before, silent_since, limit)
        if not found:
            return 0

        def unit(tx: Transaction) -> int:
            # The time of the move itself: a message accepted before it and recorded after it reopens the conversation.
            return move_silent(
                tx, found, before, after, reason, f"silent for {silent_for:g} s", self._database.clock.now()
            )

        return await self._database.write(unit)


class Silent(NamedTuple):
    """A conversation in which nothing was said for a while."""

    id: int
    last_message_at: int


def find_silent(tx: Transaction, status: Status, since: int, limit: int) -> list[Silent]:
    """The longest silent first."""
    return [Silent(*row) for row in tx.execute(SILENT, (status, since, limit))]


def move_silent(
    tx: Transaction, found: Sequence[Silent], before: Status, after: Status, reason: CloseReason | None, why: str,
    now: int,
) -> int:  # fmt: skip
    """How many are still as they were found, and so were moved."""
    unchanged = [
        silent for silent in found if tx.execute(UNCHANGED, (silent.id, before, silent.last_message_at)).fetchone()
    ]
    for silent in unchanged:
        move(tx, silent.id, after, who="upkeep", why=why, now=now, reason=reason)
    return len(unchanged)


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
    """After a STOP and a START whoever answered before does so again."""
    reason, owner = tx.execute("SELECT closed_reason, owner FROM conversations WHERE id = ?", (previous,)).fetchone()
    before = owner_before(tx, previous) if (reason, owner) == (CloseReason.OPTED_OUT, Owner.NOBODY) else Owner.AI
    if before is not Owner.AI:
        values = {"owner": before, "now": now, "previous": previous, "id": conversation_id}
        tx.execute(INHERIT_OWNER, values)
    return before


def owner_before(tx: Transaction, conversation_id: int) -> Owner:
    """Who answered the conversation before nobody did."""
    found = tx.execute(OWNER_BEFORE, (conversation_id,)).fetchone()
    return Owner(found[0]) if found else Owner.AI


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
    owner: tuple[str | None, str], status: tuple[str | None, str],
) -> None:  # fmt: skip
    tx.execute(
        """INSERT INTO transitions
               (conversation_id, at, who, reason, owner_before, owner_after, status_before, status_after)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (conversation_id, now, who, why, *owner, *status),
    )


BEGIN = """
    INSERT INTO conversations (thread_id, owner, status, opened_at, last_message_at, previous_id)
    VALUES (:thread, 'ai', 'active', :at, :at, :previous) RETURNING id
"""
MOVE_OWNER = """
    UPDATE conversations SET owner = ?, owner_at = ?, owner_version = owner_version + 1 WHERE id = ?
"""
INHERIT_OWNER = """
    UPDATE conversations SET owner = :owner, owner_at = :now, owner_acted_at = :now, owner_version = 1,
        owner_name = (SELECT b.owner_name FROM conversations AS b WHERE b.id = :previous),
        handed_reason = (SELECT b.handed_reason FROM conversations AS b WHERE b.id = :previous)
    WHERE id = :id
"""
OWNER_BEFORE = """
    SELECT owner_before FROM transitions
    WHERE conversation_id = ? AND owner_after = 'nobody' AND owner_before <> 'nobody' ORDER BY id DESC LIMIT 1
"""
# In the words of the indexes of what waits and what pends. Who is promised a person of ours is not forgotten.
STILL = """
    c.owner <> 'waiting' AND NOT EXISTS (SELECT 1 FROM messages AS m
                WHERE m.thread_id = c.thread_id AND m.direction = 'in' AND m.outcome IS NULL)
    AND NOT EXISTS (SELECT 1 FROM outbox AS o
                    WHERE o.thread_id = c.thread_id AND o.state IN ('ready', 'sending', 'ambiguous'))
"""
SILENT = f"""
    SELECT id, last_message_at FROM conversations AS c
    WHERE status = ? AND status <> 'closed' AND last_message_at <= ? AND {STILL} ORDER BY last_message_at, id LIMIT ?
"""
UNCHANGED = f"SELECT 1 FROM conversations AS c WHERE id = ? AND status = ? AND last_message_at = ? AND {STILL}"
