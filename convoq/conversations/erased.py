"""What is known of people who were erased, by a keyed hash of their address: alone it tells no number."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Final, NamedTuple

from convoq.db.transaction import Transaction

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
    """A person who is new, and was erased before: a STOP and a block hold on, now with the person's own row."""
    erased = find_erased(tx, channel, address)
    if erased is None or (erased.opted_out_at is None and erased.blocked_at is None):
        return
    tx.execute(SET_CONSENT, (erased.opted_out_at, erased.blocked_at, contact_id))
    tx.execute(SET_CONSENT, (None, None, erased.id))


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
SET_CONSENT: Final = "UPDATE contacts SET opted_out_at = ?, blocked_at = ? WHERE id = ?"
