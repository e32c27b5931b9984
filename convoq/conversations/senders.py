"""Whose a message is that comes in: a customer's, an operator's, or one of our own."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.db.transaction import Transaction


class Sender(NamedTuple):
    """Who has an address."""

    is_ours: bool  #: people write to it: an answer would begin a loop
    operator: str | None  #: whose own phone it is


def find_sender(tx: Transaction, channel: str, address: str) -> Sender:
    """Whichever way: an SMS from the number of a WhatsApp address of ours is from us."""
    number = address.rpartition(":")[2]
    is_ours, operator = tx.execute(SENDER, (channel, address, number, f"whatsapp:{number}", number)).fetchone()
    return Sender(bool(is_ours), operator)


# One statement: each message of each customer asks it.
SENDER: Final = """
    SELECT EXISTS (SELECT 1 FROM our_addresses WHERE channel = ? AND our_address IN (?, ?, ?)),
        (SELECT name FROM operators WHERE phone = ?)
"""
