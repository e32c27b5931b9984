"""No address of ours sends faster than it may, whatever worker of the installation sends for it.

A bucket a sender, charged in the transaction that marks a part as being sent: so no send costs a flush of its own. What
has to wait is told when to come back, one after the other, and holds no slot of a worker meanwhile. What is sent beside
the outbox, to an operator's own phone, takes its turn in the same line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from convoq.conversations.records import OutboxRow
from convoq.db.store import Store
from convoq.db.transaction import Transaction

BURST_MS: Final = 1000  #: of airtime that may be used ahead
LONGEST_WAIT_MS: Final = 30_000  #: of a text to an operator, which helps nobody later: then it goes before its turn


class Paced(Protocol):
    """What is to be sent, as far as its airtime depends on it."""

    @property
    def channel(self) -> str: ...
    @property
    def our_address(self) -> str: ...
    @property
    def body(self) -> str: ...


#: How long the sender takes for it, in ms; 0: there is no limit.
Airtime = Callable[[Paced], int]


class Held(NamedTuple):
    """The part's sender has sent as fast as it may."""

    until: int  #: ms on the queue's clock
    body: str


class HeldSender(NamedTuple):
    """An address of ours that people wait for."""

    channel: str
    our_address: str
    until: int  #: what waits is sent by then, if nothing else comes


def unlimited(_: Paced) -> int:
    return 0


class OperatorText(NamedTuple):
    """What is sent to an operator's own phone."""

    channel: str
    our_address: str
    body: str


class Pacing:
    """Of what is sent beside the outbox."""

    def __init__(
        self, database: Store, airtime: Airtime, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._database = database
        self._airtime = airtime
        self._sleep = sleep

    async def wait(self, text: OperatorText) -> None:
        """Until its sender is free for it; its airtime is taken then."""
        if not (airtime := self._airtime(text)):
            return
        sender = (text.channel, text.our_address)
        now = self._database.clock.now()
        wait = await self._database.write(_join_line, sender, airtime, now, durable=False) - now
        if wait > 0:
            await self._sleep(min(wait, LONGEST_WAIT_MS) / 1000)
            await self._database.write(_charge, sender, airtime, self._database.clock.now(), durable=False)


def _join_line(tx: Transaction, sender: tuple[str, str], airtime: int, now: int) -> int:
    """When its turn is: now, and it is charged; or later, and what comes after it waits for longer."""
    free_at, queued_until = tx.execute(SENDER, sender).fetchone() or (0, 0)
    until = max(free_at - BURST_MS, queued_until)
    if until <= now:
        _charge(tx, sender, airtime, now)
        return now
    tx.execute(QUEUE, (*sender, free_at, until + airtime))
    return int(until)


def _charge(tx: Transaction, sender: tuple[str, str], airtime: int, now: int) -> None:
    free_at, queued_until = tx.execute(SENDER, sender).fetchone() or (0, 0)
    tx.execute(QUEUE, (*sender, max(free_at, now) + airtime, queued_until))


def take_airtime(tx: Transaction, row: OutboxRow, airtime: int, now: int) -> Held | None:
    """None: it may be sent now, and its airtime is taken."""
    if not airtime:
        return None
    sender = (row.channel, row.our_address)
    free_at, queued_until = tx.execute(SENDER, sender).fetchone() or (0, 0)
    earliest = free_at - BURST_MS
    if max(earliest, queued_until) > now:
        (held_until,) = tx.execute(HELD_UNTIL, (row.id,)).fetchone()
        if held_until is not None and held_until > now:
            return Held(held_until, row.body)
        # What has waited goes before what comes now.
        if earliest > now or held_until is None:
            until = max(earliest, queued_until, now + 1)
            tx.execute(HOLD, (until, row.id))
            tx.execute(QUEUE, (*sender, free_at, until + airtime))
            return Held(until, row.body)
    tx.execute(QUEUE, (*sender, max(free_at, now) + airtime, queued_until))
    return None


def held_senders(tx: Transaction, now: int) -> list[HeldSender]:
    """Those for which something waits, or would."""
    return [HeldSender(*row) for row in tx.execute(HELD, (now,))]


SENDER: Final = "SELECT free_at, queued_until FROM senders WHERE channel = ? AND our_address = ?"
HELD_UNTIL: Final = "SELECT held_until FROM outbox WHERE id = ?"
HOLD: Final = "UPDATE outbox SET held_until = ? WHERE id = ?"
QUEUE: Final = """
    INSERT INTO senders (channel, our_address, free_at, queued_until) VALUES (?, ?, ?, ?)
    ON CONFLICT (channel, our_address) DO UPDATE
    SET free_at = excluded.free_at, queued_until = excluded.queued_until
"""
HELD: Final = """
    SELECT channel, our_address, queued_until FROM senders WHERE queued_until > ? ORDER BY channel, our_address
"""
