"""Erasures that a worker brings to their end: they hold from the moment in which they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from convoq.conversations import erasing, rows
from convoq.conversations.audit_trail import record_act
from convoq.conversations.erased import is_erased
from convoq.conversations.erasing import Person
from convoq.conversations.ownership import ActRefused
from convoq.conversations.threads import Thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.phone import addresses_beside

LATE: Final = timedelta(minutes=10)  #: since it was asked for; then it is said to be


class PendingErasure(NamedTuple):
    """One that is not wholly done."""

    id: int
    contacts: tuple[int, ...]
    addresses: tuple[str, ...]  #: by which jobs are known that name the person; none: those are gone
    through_at: int  #: what was accepted up to then is erased
    who: str
    way: str | None
    jobs: int  #: that were erased


class Asked(NamedTuple):
    """What is erased."""

    contacts: tuple[int, ...]
    person: Person


class Erasures:
    """Each method is one transaction, fsynced."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def pending(self) -> list[PendingErasure]:
        """The oldest first."""
        return await self._store.read(pending)

    async def cut_off(self) -> list[int]:
        """People who are not wholly erased, and whom no worker was asked to erase of late."""
        since = self._store.clock.now() - LATE // timedelta(milliseconds=1)
        return await self._store.read(cut_off, since)

    async def forget_addresses(
        self, erasure: PendingErasure, jobs: int, wake: Callable[[Transaction, Sequence[Thread]], object]
    ) -> None:
        """All of the person's jobs are gone, so many; the number is not kept any longer. `wake` is called with the
        threads of who has the number now, whose turn may have gone with them.
        """
        await self._store.write(forget_addresses, erasure, jobs, wake)

    async def finish(self, erasure: PendingErasure) -> None:
        """Nothing of the person is left."""
        await self._store.write(finish, erasure, self._store.clock.now())


def ask(tx: Transaction, contact_id: int, name: str, now: int, *, way: str | None = None) -> Asked:
    """As erasing.begin(), of who has the contact, on all addresses. Its job is to be enqueued in this transaction.

    Raises ActRefused, LookupError.
    """
    found = tx.execute("SELECT channel, address FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    if found is None:
        raise LookupError(f"there is no contact {contact_id}")
    channel, address = found
    if is_erased(address):
        raise ActRefused("unchanged", "the person was erased already")
    addresses = addresses_beside(address)
    person = erasing.look(tx, channel, addresses)
    contacts = erasing.begin(tx, channel, addresses, name, now, now, way=way)
    tx.execute(ADD, (json.dumps(contacts), json.dumps(addresses), now, name, way))
    return Asked(tuple(contacts), person)


def pending(tx: Transaction) -> list[PendingErasure]:
    return [
        PendingErasure(id_, tuple(json.loads(contacts)), tuple(json.loads(addresses)), *rest)
        for id_, contacts, addresses, *rest in tx.execute(PENDING).fetchall()
    ]


def cut_off(tx: Transaction, since: int) -> list[int]:
    under_way = {one for erasure in pending(tx) if erasure.through_at >= since for one in erasure.contacts}
    return [one for one in erasing.unfinished(tx) if one not in under_way]


def forget_addresses(
    tx: Transaction, erasure: PendingErasure, jobs: int, wake: Callable[[Transaction, Sequence[Thread]], object]
) -> None:
    tx.execute(FORGET, (jobs, erasure.id))
    found = [Thread(*row) for address in erasure.addresses for row in tx.execute(THREADS_NOW, (address,)).fetchall()]
    wake(tx, [thread for thread in found if rows.is_unsettled(tx, thread.id)])


def finish(tx: Transaction, erasure: PendingErasure, now: int) -> None:
    if tx.execute("DELETE FROM erasures WHERE id = ?", (erasure.id,)).rowcount == 0:
        return  # another worker has
    erasing.finish(tx, erasure.contacts)
    for contact_id in erasure.contacts:
        subject, detail = f"contact:{contact_id}", f"{erasure.jobs} jobs"
        record_act(tx, now, erasure.who, "erased", subject=subject, detail=detail, way=erasure.way)


def is_any(tx: Transaction) -> bool:
    return tx.execute("SELECT 1 FROM erasures LIMIT 1").fetchone() is not None


ADD: Final = "INSERT INTO erasures (contacts, addresses, through_at, who, way) VALUES (?, ?, ?, ?, ?)"
PENDING: Final = "SELECT id, contacts, addresses, through_at, who, way, jobs FROM erasures ORDER BY id"
THREADS_NOW: Final = """
    SELECT t.id, t.lane FROM contacts AS p JOIN threads AS t ON t.contact_id = p.id WHERE p.address = ?
"""
FORGET: Final = "UPDATE erasures SET addresses = '[]', jobs = jobs + ? WHERE id = ?"
