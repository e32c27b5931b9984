"""Which messages on a channel's list we have not heard of, and from when on it is to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from convoq.channels.base import Inbound
from convoq.conversations import rows
from convoq.conversations.outbox import unadopted
from convoq.conversations.threads import find_thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction

_NOTED_EACH_MS: Final = 3_600_000  # so that a message costs a read, not a write
#: An address without a message for this long may be another program's by now.
OURS_FOR: Final = timedelta(days=7)
BATCH: Final = 500


class OurAddress(NamedTuple):
    """An address of ours. Times are wall ms."""

    channel: str
    address: str
    since: int  #: what was written before has been looked for already, or was not for us


class CatchUp:
    """Each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def addresses(self, wall_now: int) -> list[OurAddress]:
        """Those that people have written to lately, as far as that came by itself."""
        return await self._store.read(addresses, wall_now)

    async def unknown(self, channel: str, provider_ids: Sequence[str]) -> set[str]:
        """Those of the channel's messages of people that are not on record."""
        return await self._store.read(unknown, channel, provider_ids)

    async def foreign(self, channel: str, our_address: str, address: str, provider_ids: Sequence[str]) -> set[str]:
        """Those of the channel's messages to the person that did not go out from here, as far as that is known."""
        return await self._store.read(foreign, channel, our_address, address, provider_ids)

    async def caught_up(self, address: OurAddress, through: int) -> None:
        await self._store.write(caught_up, address, through)


def note_addresses(tx: Transaction, messages: Iterable[Inbound], wall_now: int) -> None:
    """These have come by themselves, so their addresses are ours."""
    for channel, address in dict.fromkeys((one.channel, one.our_address) for one in messages):
        found = tx.execute(HEARD, (channel, address)).fetchone()
        if found is None or found[0] < wall_now - _NOTED_EACH_MS:
            tx.execute(HEAR, (channel, address, wall_now, wall_now))


HEARD = "SELECT last_heard FROM our_addresses WHERE channel = ? AND our_address = ?"
HEAR = """
    INSERT INTO our_addresses (channel, our_address, known_since, last_heard) VALUES (?, ?, ?, ?)
    ON CONFLICT (channel, our_address) DO UPDATE SET last_heard = excluded.last_heard,
        known_since = CASE our_addresses.last_heard WHEN 0 THEN excluded.known_since ELSE our_addresses.known_since END
"""


def addresses(tx: Transaction, wall_now: int) -> list[OurAddress]:
    found = tx.execute(ADDRESSES, (wall_now - round(OURS_FOR / timedelta(milliseconds=1)),))
    return [OurAddress(*row) for row in found]


ADDRESSES = """
    SELECT channel, our_address, coalesce(caught_up_to, known_since) FROM our_addresses WHERE last_heard >= ?
    ORDER BY channel, our_address
"""


def unknown(tx: Transaction, channel: str, provider_ids: Sequence[str]) -> set[str]:
    return {
        provider_id
        for provider_id in provider_ids
        if tx.execute("SELECT 1 FROM messages WHERE source = ?", (f"{channel}:{provider_id}",)).fetchone() is None
    }


def foreign(tx: Transaction, channel: str, our_address: str, address: str, provider_ids: Sequence[str]) -> set[str]:
    """A part of ours whose outcome is not known yet may be any of them."""
    thread = find_thread(tx, channel, our_address, address)
    return set() if thread is not None and rows.pends(tx, thread.id) else unadopted(tx, set(provider_ids))


def caught_up(tx: Transaction, address: OurAddress, through: int) -> None:
    tx.execute(
        "UPDATE our_addresses SET caught_up_to = ? WHERE channel = ? AND our_address = ?",
        (through, address.channel, address.address),
    )
