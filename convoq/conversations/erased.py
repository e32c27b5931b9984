"""What is known of people who were erased, by a keyed hash of their address: alone it tells no number."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Final, NamedTuple

from convoq.conversations.persons import OF_PERSON
from convoq.db.transaction import Transaction
from convoq.phone import addresses_beside

ERASED: Final = "erased:"  #: what the address of each such person begins with


class ErasedContact(NamedTuple):
    """A person who was erased from the place of that address."""

    id: int
    erased_at: int
    opted_out_at: int | None
    blocked_at: int | None


def is_erased(address: str) -> bool:
    return address.startswith(ERASED)


def is_being_erased(tx: Transaction, contact_id: int) -> bool:
    """Whether the person was, or is just now."""
    (erased_at,) = tx.execute("SELECT erased_at FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return erased_at is not None


def find_erased(tx: Transaction, channel: str, address: str) -> ErasedContact | None:
    """Who was erased last under this address, as long as that is remembered."""
    found = tx.execute(KEY).fetchone()
    if found is None:
        return None  # no erasure has begun here yet
    row = tx.execute(FIND, (channel, erased_address(found[0], channel, address))).fetchone()
    return None if row is None else ErasedContact(*row)


def accepted_before_erasure(tx: Transaction, channel: str, address: str, accepted_at: int) -> bool:
    """Whether what came late from or for this address was there when its person was erased, and so is gone."""
    erased = find_erased(tx, channel, address)
    return erased is not None and accepted_at <= erased.erased_at


def restore_consent(tx: Transaction, contact_id: int, channel: str, address: str) -> None:
    """What holds for who has this address from before: a block of the person by whichever address, and a STOP that was
    said by this one and outlasts the erasure of who said it. Both stand in the person's own row from now on."""
    erased = find_erased(tx, channel, address)
    if erased is not None and erased.opted_out_at is not None:
        tx.execute("UPDATE contacts SET opted_out_at = ? WHERE id = ?", (erased.opted_out_at, contact_id))
        tx.execute("UPDATE contacts SET opted_out_at = NULL WHERE id = ?", (erased.id,))
    (of_other,) = tx.execute(BLOCKED_BESIDE, (contact_id,)).fetchone()
    since = [at for at in (take_erased_block(tx, contact_id), of_other) if at is not None]
    if since:
        tx.execute(BLOCK, (min(since), contact_id))


def take_erased_block(tx: Transaction, contact_id: int) -> int | None:
    """Since when who was erased from one of the person's addresses was blocked, which is remembered no more."""
    channel, address = tx.execute("SELECT channel, address FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    found = [find_erased(tx, channel, beside) for beside in addresses_beside(address)]
    blocked = {one.id: one.blocked_at for one in found if one is not None and one.blocked_at is not None}
    tx.executemany("UPDATE contacts SET blocked_at = NULL WHERE id = ?", [(one,) for one in blocked])
    return min(blocked.values(), default=None)


def make_erased_address(tx: Transaction, channel: str, address: str) -> str:
    tx.execute(MAKE_KEY, (secrets.token_hex(32),))
    (key,) = tx.execute(KEY).fetchone()
    return erased_address(key, channel, address)


def erased_address(key: str, channel: str, address: str) -> str:
    digest = blake2b(f"{channel} {address}".encode(), key=bytes.fromhex(key), digest_size=16)
    return f"{ERASED}{digest.hexdigest()}"


KEY: Final = "SELECT key FROM erasure_key WHERE one = 1"
MAKE_KEY: Final = "INSERT INTO erasure_key (one, key) VALUES (1, ?) ON CONFLICT (one) DO NOTHING"
FIND: Final = """
    SELECT id, erased_at, opted_out_at, blocked_at FROM contacts
    WHERE channel = ? AND address = ? AND erased_at IS NOT NULL
"""
BLOCKED_BESIDE: Final = f"SELECT min(blocked_at) FROM contacts WHERE id IN ({OF_PERSON})"
BLOCK: Final = "UPDATE contacts SET blocked_at = ? WHERE id = ? AND blocked_at IS NULL"
