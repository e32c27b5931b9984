"""What else there is to tell of a conversation beside its messages: who answered when, what people of ours noted."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations.states import HandedReason, Owner
from convoq.db.transaction import Transaction

#: Why a person of ours was awaited, as far as that says something of the customer.
OF_THE_CUSTOMER: Final = (
    HandedReason.ASKED, HandedReason.COMPLAINT, HandedReason.MANDATE, HandedReason.UNSURE, HandedReason.SAFETY,
)  # fmt: skip


class OwnerPeriod(NamedTuple):
    """For how long an operator was to answer."""

    owner: Owner
    name: str | None  #: of the person of ours
    reason: HandedReason | None  #: why one was awaited
    until: int | None  #: ms on the wall clock; None: still


class Note(NamedTuple):
    """What a person of ours has noted for others."""

    who: str
    text: str


class Happening(NamedTuple):
    """Something that began, or was noted, at that moment."""

    at: int  #: ms on the queue's clock
    wall_at: int
    what: OwnerPeriod | Note


def list_happenings(
    tx: Transaction, conversation_id: int, periods: int, notes: int, wall_offset: int
) -> list[Happening]:
    """The newest of each, oldest first. `wall_offset`: ms from the queue's clock to the wall's."""
    noted = [
        Happening(at, wall_at, Note(who, text))
        for at, wall_at, who, text in tx.execute(NOTES, (conversation_id, notes)).fetchall()
    ]
    return sorted([*_periods(tx, conversation_id, periods, wall_offset), *noted], key=lambda one: one.at)


def _periods(tx: Transaction, conversation_id: int, limit: int, wall_offset: int) -> list[Happening]:
    """Each with its end. Periods after a STOP are left out: they are no matter of the model's."""
    found: list[Happening] = []
    until: int | None = None
    for at, who, reason, owner in tx.execute(CHANGES, (conversation_id, limit)).fetchall():
        wall_at = at + wall_offset
        if owner != Owner.NOBODY:
            name = who if owner == Owner.HUMAN else None
            found.append(Happening(at, wall_at, OwnerPeriod(Owner(owner), name, _reason_in(reason), until)))
        until = wall_at
    return found[::-1]


def _reason_in(why: str) -> HandedReason | None:
    code = why.partition(":")[0]
    return next((reason for reason in OF_THE_CUSTOMER if reason == code), None)


CHANGES: Final = """
    SELECT at, who, reason, owner_after FROM transitions
    WHERE conversation_id = ? AND owner_before IS NOT NULL AND owner_before <> owner_after ORDER BY id DESC LIMIT ?
"""
NOTES: Final = "SELECT at, wall_at, who, text FROM operator_notes WHERE conversation_id = ? ORDER BY id DESC LIMIT ?"
