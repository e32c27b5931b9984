"""What becomes of conversations in which nothing is said any more."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from convoq.clock import Clock
from convoq.conversations import rows
from convoq.conversations.handing_over import HandoverSentences, Told
from convoq.conversations.lifecycle import move
from convoq.conversations.outbox import add_outgoing
from convoq.conversations.ownership import thread_of
from convoq.conversations.rules import may_send
from convoq.conversations.states import CloseReason, Status
from convoq.conversations.threads import Thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction

Wake = Callable[[Transaction, Sequence[Thread]], object]


class Lifecycle:
    """What upkeep does to silent conversations. Safe to repeat; one transaction a batch.

    A conversation is not silent while a message in its thread waits or a part of ours is to be sent. `wake` is called
    in the transaction with the threads in which something is to be said.
    """

    def __init__(self, database: Store, wall: Clock, sentences: HandoverSentences) -> None:
        self._database = database
        self._wall = wall
        self._sentences = sentences

    async def mark_idle(self, wake: Wake, *, silent_for: float, limit: int) -> int:
        """At most `limit` active conversations, silent for that many seconds, become idle; how many did."""
        return await self._move(Status.ACTIVE, Status.IDLE, None, silent_for, limit, wake)

    async def close_expired(self, wake: Wake, *, silent_for: float, limit: int) -> int:
        """At most `limit` conversations, silent for that many seconds, are closed; how many were."""
        closed = 0
        for status in (Status.ACTIVE, Status.IDLE):
            closed += await self._move(status, Status.CLOSED, CloseReason.EXPIRED, silent_for, limit - closed, wake)
        return closed

    async def _move(
        self, before: Status, after: Status, reason: CloseReason | None, silent_for: float, limit: int, wake: Wake
    ) -> int:
        silent_since = self._database.clock.now() - round(silent_for * 1000)
        found = await self._database.read(find_silent, before, silent_since, limit)
        if not found:
            return 0

        def unit(tx: Transaction) -> int:
            # The time of the move itself: a message accepted before it and recorded after it reopens the conversation.
            now, wall_now = self._database.clock.now(), self._wall.now()
            moved = move_silent(tx, found, before, after, reason, f"silent for {silent_for:g} s", now)
            told = Told.CHECK_IN if after is Status.IDLE else Told.EXPIRED
            wake(tx, [thread for one in moved if (thread := say(tx, one, told, self._sentences, now, wall_now))])
            return len(moved)

        return await self._database.write(unit)


def say(
    tx: Transaction, conversation_id: int, told: Told, sentences: HandoverSentences, now: int, wall_now: int
) -> Thread | None:
    """The thread in which it is to be sent. Only the AI says it, and where it had the last word: once a silence."""
    conversation = rows.conversation(tx, conversation_id)
    text = sentences.text(told, conversation.our_address)
    if not text or may_send(conversation, author="ai", committed_at=now, now=now, wall_now=wall_now) is not None:
        return None
    last = tx.execute(LAST_SOURCE, (conversation_id,)).fetchone()
    if last is None or not last[0].startswith(AFTER[told]):
        return None
    source = f"{rows.NOTICE}{told}:{secrets.token_hex(8)}"
    add_outgoing(tx, conversation.thread_id, conversation_id, "ai", source, text, [text], now, wall_now)
    return thread_of(conversation)


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
) -> list[int]:  # fmt: skip
    """Those that are still as they were found, and so were moved."""
    unchanged = [
        silent for silent in found if tx.execute(UNCHANGED, (silent.id, before, silent.last_message_at)).fetchone()
    ]
    for silent in unchanged:
        move(tx, silent.id, after, who="upkeep", why=why, now=now, reason=reason)
    return [silent.id for silent in unchanged]


#: What our last word must have been, by the beginnings of its source.
AFTER: Final[Mapping[Told, tuple[str, ...]]] = {
    Told.CHECK_IN: ("turn:",),
    Told.EXPIRED: ("turn:", f"{rows.NOTICE}{Told.CHECK_IN}:"),
}
LAST_SOURCE: Final = "SELECT source FROM messages WHERE conversation_id = ? ORDER BY id DESC LIMIT 1"
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
