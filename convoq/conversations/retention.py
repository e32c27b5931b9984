"""Takes out what has been kept as long as the settings say: the oldest first, a few rows a transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from convoq.clock import DAY_MS
from convoq.conversations import bulk_acts
from convoq.conversations.erasing import PARTS, WIPE_MESSAGE, forget_hashes, unfinished, wipe
from convoq.conversations.idempotency import KEPT_MS
from convoq.conversations.notifications import expire_notifications
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.queue.rules import DEDUP_RETENTION_MS
from convoq.settings.retention import RetentionSettings

#: What was accepted before an erasure and is recorded later than this is not told any more: as long as dedup keys live.
HASHES_MS: Final = DEDUP_RETENTION_MS


class Retention:
    """Each step is one short transaction: safe to repeat, to leave and to lose. It tells how many rows it changed."""

    def __init__(self, store: Store, settings: RetentionSettings) -> None:
        self._store = store
        self._settings = settings

    async def texts(self, limit: int) -> int:
        """Messages whose time is over, up to the first that is still to be answered or sent."""
        return await self._older(self._settings.texts_days, expire_texts, limit)

    async def notes(self, limit: int) -> int:
        return await self._older(self._settings.notes_days, expire_notes, limit)

    async def audit(self, limit: int) -> int:
        return await self._older(self._settings.audit_days, expire_audit, limit)

    async def notifications(self, limit: int) -> int:
        """What was told to targets of [notify], and alarms that are over."""
        return await self._store.write(expire_notifications, self._store.clock.now(), limit, durable=False)

    async def keys(self, limit: int) -> int:
        """Answers to programs that may not ask again by now."""
        before = self._store.clock.now() - KEPT_MS
        return await self._store.write(expire_keys, before, limit, durable=False)

    async def bulk_acts(self, limit: int) -> int:
        """Acts on many jobs that have long been over."""
        before = self._store.clock.now() - bulk_acts.KEPT // timedelta(milliseconds=1)
        return await self._store.write(bulk_acts.expire, before, limit, durable=False)

    async def erased(self, limit: int) -> int:
        """Goes on with erasures that were cut off, and forgets hashes that have served."""
        before = self._store.clock.now() - HASHES_MS
        return await self._store.write(go_on_erasing, before, limit, durable=False)

    async def _older(self, days: int | None, expire: Callable[[Transaction, int, int], int], limit: int) -> int:
        if days is None:
            return 0
        return await self._store.write(expire, self._store.clock.now() - days * DAY_MS, limit, durable=False)


def expire_texts(tx: Transaction, before: int, limit: int) -> int:
    found = tx.execute("SELECT texts_through FROM retention").fetchone()
    over: list[int] = []
    for message_id, conversation_id, at, is_open in tx.execute(NEXT, (found[0] if found else 0, limit)).fetchall():
        if at >= before or is_open:
            break
        _expire(tx, message_id, conversation_id)
        over.append(message_id)
    if over:
        tx.execute(SET_THROUGH, (over[-1],))
    return len(over)


def _expire(tx: Transaction, message_id: int, conversation_id: int) -> None:
    for part in tx.execute(PARTS, (message_id,)).fetchall():
        tx.execute("DELETE FROM outbox WHERE id = ?", part)
    tx.execute("DELETE FROM drafts WHERE conversation_id = ? AND through_id = ?", (conversation_id, message_id))
    tx.execute(FORGET_ERRORS, (conversation_id, message_id))
    tx.execute(WIPE_MESSAGE, (message_id,))


def expire_notes(tx: Transaction, before: int, limit: int) -> int:
    return sum(tx.execute(statement, (limit, before)).rowcount for statement in (OLD_NOTES, OLD_TRANSITIONS))


def expire_audit(tx: Transaction, before: int, limit: int) -> int:
    return tx.execute(OLD_AUDIT, (limit, before)).rowcount


def expire_keys(tx: Transaction, before: int, limit: int) -> int:
    return tx.execute(OLD_KEYS, (before, limit)).rowcount


def go_on_erasing(tx: Transaction, before: int, limit: int) -> int:
    return sum(wipe(tx, contact_id, limit) for contact_id in unfinished(tx)) + forget_hashes(tx, before, limit)


# What waits or pends is not over, however old.
NEXT: Final = """
    SELECT m.id, m.conversation_id, m.at, (m.direction = 'in' AND m.outcome IS NULL) OR EXISTS (
        SELECT 1 FROM outbox AS o WHERE o.message_id = m.id AND o.state IN ('ready', 'sending', 'ambiguous'))
    FROM messages AS m WHERE m.id > ? ORDER BY m.id LIMIT ?
"""
SET_THROUGH: Final = """
    INSERT INTO retention (one, texts_through) VALUES (1, ?)
    ON CONFLICT (one) DO UPDATE SET texts_through = excluded.texts_through
"""
FORGET_ERRORS: Final = """
    UPDATE model_calls SET error = NULL WHERE conversation_id = ? AND through_id = ? AND error IS NOT NULL
"""


def _oldest_of(table: str) -> str:
    """Ids are in the order of time."""
    return f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id > 0 ORDER BY id LIMIT ?) AND at < ?"


OLD_NOTES: Final = _oldest_of("operator_notes")
OLD_TRANSITIONS: Final = _oldest_of("transitions")
OLD_AUDIT: Final = _oldest_of("audit")
OLD_KEYS: Final = """
    DELETE FROM idempotency_keys WHERE hash IN (
        SELECT hash FROM idempotency_keys WHERE answered_at < ? ORDER BY answered_at LIMIT ?)
"""
