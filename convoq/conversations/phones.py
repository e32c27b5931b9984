"""Operators' own phones: whose a number is, who wants to be told there, and where that may be said."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from convoq.clock import Clock
from convoq.conversations.notifications import PHONE_TARGET, NotifyTarget, drop_target, put_target
from convoq.conversations.ownership import ActRefused
from convoq.conversations.rules import WINDOW
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.settings.notify import Event

CHANNEL: Final = "twilio"  #: whose addresses phone numbers are
TOLD: Final = (Event.HANDED_OVER,)
MOST_ALERTS: Final = 6  #: an operator and hour: more are a reason to look at the list
HOUR_MS: Final = timedelta(hours=1) // timedelta(milliseconds=1)
WINDOW_MS: Final = WINDOW // timedelta(milliseconds=1)


class Way(NamedTuple):
    """From which address of ours to which of an operator's something may be said."""

    our_address: str
    address: str


class Phones:
    """Reads only."""

    def __init__(self, database: Store, wall: Clock) -> None:
        self._database = database
        self._wall = wall

    async def way_to(self, operator: str, our_address: str | None) -> Way | str:
        """How the operator may be told of something now; else why not. `our_address`: at which it arose."""
        now, wall_now = self._database.clock.now(), self._wall.now()
        return await self._database.read(way_to, operator, our_address, now, wall_now)

    async def may_be_told(self, address: str) -> bool:
        """Whether the one who has it has not said STOP."""
        return not await self._database.read(has_said_stop, address)


def set_phone(tx: Transaction, operator: str, phone: str, *, alerts: bool) -> None:
    """From its commit on what comes from that number is a command of this operator's. Raises ActRefused."""
    taken = tx.execute("SELECT name FROM operators WHERE phone = ? AND name <> ?", (phone, operator)).fetchone()
    if taken is not None:
        raise ActRefused("operator", f"{phone} is the phone of {taken[0]}: one number, one operator")
    if tx.execute(OUR_NUMBER, (phone, f"whatsapp:{phone}")).fetchone() is not None:
        raise ActRefused("operator", f"{phone} is a number of ours: an operator's phone is their own")
    tx.execute("UPDATE operators SET phone = ?, heard_on = NULL, heard_wall = NULL WHERE name = ?", (phone, operator))
    if alerts:
        put_target(tx, NotifyTarget(f"{PHONE_TARGET}{operator}", phone[-4:], TOLD))


def forget_phone(tx: Transaction, operator: str, now: int) -> None:
    """What comes from there is a customer's again, and nothing is told there any more."""
    tx.execute("UPDATE operators SET phone = NULL, heard_on = NULL, heard_wall = NULL WHERE name = ?", (operator,))
    drop_target(tx, f"{PHONE_TARGET}{operator}", now)


def note_heard(tx: Transaction, operator: str, our_address: str, wall_now: int) -> None:
    tx.execute("UPDATE operators SET heard_on = ?, heard_wall = ? WHERE name = ?", (our_address, wall_now, operator))


def way_to(tx: Transaction, operator: str, our_address: str | None, now: int, wall_now: int) -> Way | str:
    found = tx.execute("SELECT phone, heard_on, heard_wall FROM operators WHERE name = ?", (operator,)).fetchone()
    if found is None or found[0] is None:
        return "there is no phone any more"
    phone, heard_on, heard_wall = found
    (alerts,) = tx.execute(ALERTS, (f"{PHONE_TARGET}{operator}", now - HOUR_MS)).fetchone()
    if alerts >= MOST_ALERTS:
        return f"{MOST_ALERTS} were sent within the hour"
    ours = heard_on or our_address
    is_whatsapp = ours is not None and ours.startswith("whatsapp:")
    if ours is None or (is_whatsapp and (heard_wall is None or heard_wall <= wall_now - WINDOW_MS)):
        return "no text came from there within 24 hours, and WhatsApp takes no other message"
    way = Way(ours, f"whatsapp:{phone}" if is_whatsapp else phone)
    return "the one who has it said STOP" if has_said_stop(tx, way.address) else way


def has_said_stop(tx: Transaction, address: str) -> bool:
    found = tx.execute(OPTED_OUT, (CHANNEL, address)).fetchone()
    return found is not None and found[0] is not None


OUR_NUMBER: Final = "SELECT 1 FROM our_addresses WHERE our_address IN (?, ?) LIMIT 1"
OPTED_OUT: Final = "SELECT opted_out_at FROM contacts WHERE channel = ? AND address = ?"
ALERTS: Final = """
    SELECT count(*) FROM (
        SELECT state, settled_at FROM notifications WHERE target = ? ORDER BY id DESC LIMIT 100) AS newest
    WHERE state = 'sent' AND settled_at > ?
"""
