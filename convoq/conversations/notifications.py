"""What is to be told to whom, until it has been: the rows that alarms.py has written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from convoq.clock import DAY_MS, Clock
from convoq.conversations import rows
from convoq.conversations.alarms import AGAIN_AFTER_MS, resolve, tell_held_back
from convoq.conversations.erased import is_erased
from convoq.conversations.records import Conversation
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.queue.base import Ending
from convoq.settings.notify import Event

WAKE_AGAIN: Final = timedelta(minutes=1)  #: after which a job is looked for again: a queue elsewhere may have none
WAKE_AGAIN_MS: Final = WAKE_AGAIN // timedelta(milliseconds=1)
KEPT_MS: Final = 30 * DAY_MS  #: what was told, and alarms that are over
AT_ONCE: Final = 100  #: causes a transaction
PHONE_TARGET: Final = "phone:"  #: what the name of an operator's phone begins with

#: Called in the transaction: enqueues the jobs of these targets.
WakeTargets = Callable[[Transaction, Sequence[str]], object]


class NotifyTarget(NamedTuple):
    """Whom the settings name, and of what it is told."""

    name: str
    fingerprint: str  #: tells another address from the same
    events: tuple[Event, ...]


class TargetState(NamedTuple):
    """How a target takes what it is told."""

    name: str
    failing_at: int | None  #: since when it has taken nothing
    error: str | None
    gone_at: int | None  #: when it said that it is gone for good: it is told nothing any more
    waiting: int  #: what is to be told


class Notification(NamedTuple):
    """What one target is to be told next."""

    id: int
    message_id: str  #: the same in each try
    event: str
    wall_at: int  #: when it arose
    tries: int  #: that have failed
    facts: dict[str, Any]
    conversation: Conversation | None  #: None also where the person was erased
    words: str | None = None  #: the customer's last message
    why: str | None = None  #: the conversation was handed over, as its transition says


class Notifications:
    """Each method is one transaction."""

    def __init__(self, database: Store, wall: Clock) -> None:
        self._database = database
        self._wall = wall

    async def set_targets(self, targets: Sequence[NotifyTarget]) -> None:
        """From now on these are told, with operators' phones, and no others; one that has moved begins anew."""
        if await self._database.read(list_settings) != {one.name: one for one in targets}:
            await self._database.write(set_targets, targets, self._database.clock.now())

    async def is_due(self) -> bool:
        """Whether step() has something to do."""
        return await self._database.read(is_due, self._database.clock.now(), self._wall.now())

    async def step(self, wake: WakeTargets) -> int:
        """Wakes the targets for which something waits, and tells what is over by the clock or on record; how many
        jobs were due."""
        return await self._database.write(step, self._database.clock.now(), self._wall.now(), wake)

    async def next(self, target: str, *, texts: bool) -> Notification | None:
        """The oldest that waits for the target, with words of people only where `texts` says so."""
        offset = self._wall.now() - self._database.clock.now()
        return await self._database.read(next_for, target, offset, texts)

    async def mark_sent(self, notification: Notification, target: str) -> None:
        """A power cut may take it back: then it is sent again, under the same id."""
        await self._database.write(mark_sent, notification.id, target, self._database.clock.now(), durable=False)

    async def mark_failed(self, notification: Notification, target: str, error: str, job_id: str | None) -> None:
        """One more try was in vain; with a `job_id`, which is to be buried then, it was the last one."""
        now = self._database.clock.now()
        await self._database.write(mark_failed, notification.id, target, error, now, job_id, durable=False)

    async def drop(self, notification: Notification) -> None:
        """It is not told to this target."""
        await self._database.write(drop, notification.id, self._database.clock.now(), durable=False)

    async def switch_off(self, target: str, error: str) -> None:
        """It is told nothing any more, until its address in the settings is another or a test reaches it."""
        await self._database.write(switch_off, target, error, self._database.clock.now())

    async def switch_on(self, target: str) -> bool:
        """Whether it was off."""
        return await self._database.write(switch_on, target)

    async def targets(self) -> list[TargetState]:
        return await self._database.read(list_targets)


def list_settings(tx: Transaction) -> dict[str, NotifyTarget]:
    known = frozenset(Event)  # a newer worker beside this one may have named others
    return {
        name: NotifyTarget(name, fingerprint, tuple(Event(event) for event in events.split() if event in known))
        for name, fingerprint, events in tx.execute(SETTINGS)
    }


def set_targets(tx: Transaction, targets: Sequence[NotifyTarget], now: int) -> None:
    for name in list_settings(tx).keys() - {one.name for one in targets}:
        drop_target(tx, name, now)
    for one in targets:
        put_target(tx, one)


def put_target(tx: Transaction, target: NotifyTarget) -> None:
    tx.execute(PUT, (target.name, target.fingerprint, f" {' '.join(target.events)} "))


def drop_target(tx: Transaction, name: str, now: int) -> None:
    tx.execute("DELETE FROM notify_targets WHERE name = ?", (name,))
    tx.execute(DROP, (now, name))


def list_targets(tx: Transaction) -> list[TargetState]:
    return [TargetState(*row) for row in tx.execute(TARGETS)]


def is_due(tx: Transaction, now: int, wall_now: int) -> bool:
    held_back = tx.execute(HELD_BACK, (now - AGAIN_AFTER_MS,)).fetchone()
    return held_back is not None or bool(_unwoken(tx, now)) or bool(find_over(tx, wall_now))


def step(tx: Transaction, now: int, wall_now: int, wake: WakeTargets) -> int:
    for cause in find_over(tx, wall_now):
        resolve(tx, cause, now, {})
    tell_held_back(tx, now, AT_ONCE)
    targets = _unwoken(tx, now)
    for target in targets:
        tx.execute(SET_WOKEN, (now, target))
    if targets:
        wake(tx, targets)
    return len(targets)


def _unwoken(tx: Transaction, now: int) -> list[str]:
    return [target for (target,) in tx.execute(UNWOKEN, (now - WAKE_AGAIN_MS,)).fetchall()]


def find_over(tx: Transaction, wall_now: int) -> list[str]:
    """Causes that ended without an act: a provider answers again, a new day has its own budget."""
    found = tx.execute(LASTING, (Event.PROVIDER_REFUSED, Event.BUDGET_REACHED)).fetchall()
    return [
        cause
        for cause, event, facts, raised_at in found
        if _is_over(tx, cause, Event(event), json.loads(facts), raised_at, wall_now)
    ]


def _is_over(tx: Transaction, cause: str, event: Event, facts: dict[str, Any], raised_at: int, wall_now: int) -> bool:
    if event is Event.BUDGET_REACHED:
        period, scope, currency = cause.removeprefix(f"{event}:").split(" ")
        return facts["until"] <= wall_now or tx.execute(HOLDS_BACK, (period, scope, currency)).fetchone() is None
    if (our_address := facts.get("our_address")) is not None:
        return tx.execute(SENT_SINCE, (our_address, raised_at)).fetchone() is not None
    return tx.execute(ANSWERED_SINCE, (raised_at, facts["provider"])).fetchone() is not None


def next_for(tx: Transaction, target: str, wall_offset: int, texts: bool) -> Notification | None:
    found = tx.execute(NEXT, (target,)).fetchone()
    if found is None:
        return None
    number, message_id, event, at, tries, facts, conversation_id = found
    conversation = None if conversation_id is None else rows.conversation(tx, conversation_id)
    if conversation is None or is_erased(conversation.contact.address):
        return Notification(number, message_id, event, at + wall_offset, tries, json.loads(facts), None)
    words = why = None
    if texts:
        words, why = (_text(tx, sql, conversation.id) for sql in (LAST_WORDS, WHY))
    return Notification(number, message_id, event, at + wall_offset, tries, json.loads(facts), conversation, words, why)


def _text(tx: Transaction, sql: str, conversation_id: int) -> str | None:
    found = tx.execute(sql, (conversation_id,)).fetchone()
    return found[0] if found else None


def mark_sent(tx: Transaction, number: int, target: str, now: int) -> None:
    tx.execute(
        "UPDATE notifications SET state = 'sent', settled_at = ? WHERE id = ? AND state = 'ready'", (now, number)
    )
    tx.execute(WELL, (target,))


def mark_failed(tx: Transaction, number: int, target: str, error: str, now: int, job_id: str | None) -> None:
    tx.execute("UPDATE notifications SET tries = tries + 1, ended_by = ? WHERE id = ?", (job_id, number))
    tx.execute(FAILING, (now, error, target))


def drop(tx: Transaction, number: int, now: int) -> None:
    tx.execute("UPDATE notifications SET state = 'dropped', settled_at = ? WHERE id = ?", (now, number))


def switch_off(tx: Transaction, target: str, error: str, now: int) -> None:
    tx.execute("UPDATE notify_targets SET gone_at = ?, error = ? WHERE name = ?", (now, error, target))
    tx.execute(DROP, (now, target))


def switch_on(tx: Transaction, target: str) -> bool:
    return bool(tx.execute(SWITCH_ON, (target,)).rowcount)


def settle_notifications(tx: Transaction, ending: Ending, job_id: str, now: int) -> None:
    """What a buried job could not tell has failed with it; the others go on, and its retry brings exactly that back."""
    if ending is Ending.BURIED:
        tx.execute(SET_FAILED, (now, job_id))
        tx.execute("UPDATE notifications SET woken_at = 0 WHERE state = 'ready'")
    elif ending is Ending.RETRIED:
        tx.execute(REVIVE, (job_id,))


def expire_notifications(tx: Transaction, now: int, limit: int) -> int:
    """What was told, and what is over, for so long that no alarm of an hour's refers to it."""
    return sum(tx.execute(sql, (limit, now - KEPT_MS)).rowcount for sql in (OLD_NOTIFICATIONS, OLD_ALARMS))


SETTINGS: Final = f"SELECT name, fingerprint, events FROM notify_targets WHERE name NOT LIKE '{PHONE_TARGET}%'"
TARGETS: Final = """
    SELECT name, failing_at, error, gone_at,
        (SELECT count(*) FROM notifications AS n WHERE n.target = t.name AND n.state = 'ready')
    FROM notify_targets AS t ORDER BY name
"""
PUT: Final = """
    INSERT INTO notify_targets AS t (name, fingerprint, events) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET events = excluded.events, fingerprint = excluded.fingerprint,
        failing_at = CASE t.fingerprint WHEN excluded.fingerprint THEN t.failing_at END,
        error = CASE t.fingerprint WHEN excluded.fingerprint THEN t.error END,
        gone_at = CASE t.fingerprint WHEN excluded.fingerprint THEN t.gone_at END
"""
DROP: Final = "UPDATE notifications SET state = 'dropped', settled_at = ? WHERE target = ? AND state = 'ready'"
WELL: Final = "UPDATE notify_targets SET failing_at = NULL, error = NULL WHERE name = ? AND failing_at IS NOT NULL"
FAILING: Final = "UPDATE notify_targets SET failing_at = coalesce(failing_at, ?), error = ? WHERE name = ?"
SWITCH_ON: Final = """
    UPDATE notify_targets SET gone_at = NULL, failing_at = NULL, error = NULL WHERE name = ? AND gone_at IS NOT NULL
"""
HELD_BACK: Final = "SELECT 1 FROM alarms WHERE untold > 0 AND told_at <= ? LIMIT 1"
UNWOKEN: Final = "SELECT DISTINCT target FROM notifications WHERE state = 'ready' AND woken_at <= ?"
SET_WOKEN: Final = "UPDATE notifications SET woken_at = ? WHERE target = ? AND state = 'ready'"
LASTING: Final = "SELECT cause, event, facts, raised_at FROM alarms WHERE is_open = 1 AND event IN (?, ?)"
HOLDS_BACK: Final = "SELECT 1 FROM spending WHERE period = ? AND scope = ? AND currency = ? AND refused = 1"
ANSWERED_SINCE: Final = "SELECT 1 FROM model_calls WHERE at > ? AND outcome = 'ok' AND model = ? LIMIT 1"
# Among the newest: more are not needed to meet one that was sent.
SENT_SINCE: Final = """
    SELECT 1 FROM outbox AS o JOIN threads AS t ON t.id = o.thread_id
    WHERE o.id > (SELECT max(id) FROM outbox) - 200 AND o.state = 'sent' AND t.our_address = ? AND o.settled_at > ?
    LIMIT 1
"""
NEXT: Final = """
    SELECT id, message_id, event, at, tries, facts, conversation_id FROM notifications
    WHERE target = ? AND state = 'ready' ORDER BY id LIMIT 1
"""
LAST_WORDS: Final = """
    SELECT description FROM messages WHERE conversation_id = ? AND direction = 'in' ORDER BY id DESC LIMIT 1
"""
WHY: Final = """
    SELECT reason FROM transitions WHERE conversation_id = ? AND owner_after = 'waiting' ORDER BY id DESC LIMIT 1
"""
SET_FAILED: Final = """
    UPDATE notifications SET state = 'failed', settled_at = ? WHERE ended_by = ? AND state = 'ready'
"""
REVIVE: Final = """
    UPDATE notifications SET state = 'ready', tries = 0, settled_at = NULL, ended_by = NULL, woken_at = 0
    WHERE ended_by = ? AND state = 'failed'
"""
OLD_NOTIFICATIONS: Final = """
    DELETE FROM notifications
    WHERE id IN (SELECT id FROM notifications WHERE id > 0 ORDER BY id LIMIT ?) AND at < ?
"""
OLD_ALARMS: Final = """
    DELETE FROM alarms
    WHERE cause IN (SELECT cause FROM alarms ORDER BY raised_at LIMIT ?) AND raised_at < ?
"""
