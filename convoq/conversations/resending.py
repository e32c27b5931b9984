"""What the channel took and could not deliver is sent again: as a row of its own, with a reference of its own."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

from convoq.clock import Clock
from convoq.conversations import rows
from convoq.conversations.consent import has_come_back_since
from convoq.conversations.records import OutboxRow
from convoq.conversations.rules import Refusal, may_send_part
from convoq.conversations.states import DEAD_ENDS
from convoq.conversations.threads import Thread, get_thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction

Wake = Callable[[Transaction, Sequence[Thread]], object]

OPTED_OUT_SINCE: Final = Refusal("opted_out", "the person has said STOP or START since it was written")
MOVED_ON: Final = Refusal("not_owner", "a person took over")


class Resending:
    """Each method is one transaction, fsynced; `wake` is called in it with the thread in which a part is to be sent."""

    def __init__(self, database: Store, wall: Clock) -> None:
        self._database = database
        self._wall = wall

    async def send_again(self, part_id: int, wake: Wake) -> OutboxRow | Refusal | None:
        """The part as it is to be sent once more; why it must not be; None when there is no reason to (any more)."""
        return await self._database.write(send_again, part_id, self._database.clock.now(), self._wall.now(), wake)

    async def resend(self, message_id: int, wake: Wake) -> list[Resent] | None:
        """What an operator asks for: all parts of a message of ours that failed or did not arrive, however often."""
        return await self._database.write(resend, message_id, self._database.clock.now(), self._wall.now(), wake)


def send_again(tx: Transaction, part_id: int, now: int, wall_now: int, wake: Wake) -> OutboxRow | Refusal | None:
    """Repeating it changes nothing: a part is followed by one other at most."""
    found = tx.execute(f"{rows.OUTBOX} WHERE o.id = ?", (part_id,)).fetchone()
    if found is None:
        return None
    row = rows.to_outbox_row(found)
    if not is_undelivered(row) or is_followed(tx, row.id):
        return None
    refusal = may_send_again(tx, row, now, wall_now)
    if refusal is not None:
        tx.execute("UPDATE outbox SET error = ? WHERE id = ?", (f"not sent again: {refusal.reason}", row.id))
        return refusal
    follower = follow(tx, row)
    wake(tx, [_thread_of(tx, row)])
    return follower


def is_undelivered(row: OutboxRow) -> bool:
    """The channel took it, says that it failed, and has never said that it arrived."""
    return row.state == "sent" and row.delivery in DEAD_ENDS and not row.arrived


def is_followed(tx: Transaction, part_id: int) -> bool:
    return tx.execute("SELECT 1 FROM outbox WHERE resend_of = ?", (part_id,)).fetchone() is not None


def may_send_again(tx: Transaction, row: OutboxRow, now: int, wall_now: int) -> Refusal | None:
    """The rules of any message, and that nothing has happened since that ends what was said before."""
    is_back = has_come_back_since(tx, row.thread_id, row.committed_at)
    if is_back and not row.confirms_opt_out:
        return OPTED_OUT_SINCE
    refusal = may_send_part(rows.conversation(tx, row.conversation_id), row, now, wall_now)
    if refusal is not None:
        return refusal
    if is_back:  # and gone again: that opt-out has a confirmation of its own
        return OPTED_OUT_SINCE
    newest = tx.execute(NEWEST_OWNER, (row.thread_id,)).fetchone()
    return MOVED_ON if row.author == "ai" and newest[0] != "ai" else None


# Its own conversation may be over, and a person may have taken over the one after it.
NEWEST_OWNER = "SELECT owner FROM conversations WHERE thread_id = ? ORDER BY id DESC LIMIT 1"


def follow(tx: Transaction, row: OutboxRow) -> OutboxRow:
    """The part's next send, ready. It is the message's last, or giving it up would give up parts that come later."""
    (part_id,) = tx.execute(FOLLOW, (secrets.token_hex(8), row.id)).fetchone()
    tx.execute("UPDATE outbox SET error = NULL WHERE id = ?", (row.id,))
    return rows.to_outbox_row(tx.execute(f"{rows.OUTBOX} WHERE o.id = ?", (part_id,)).fetchone())


FOLLOW = """
    INSERT INTO outbox (reference, thread_id, conversation_id, message_id, part, body, state, resend_of,
                        template_sid, template_variables)
    SELECT ?, thread_id, conversation_id, message_id,
           (SELECT max(part) + 1 FROM outbox AS p WHERE p.message_id = o.message_id), body, 'ready', id,
           template_sid, template_variables
    FROM outbox AS o WHERE id = ? RETURNING id
"""


def _thread_of(tx: Transaction, row: OutboxRow) -> Thread:
    return cast(Thread, get_thread(tx, row.thread_id))  # which every part refers to


class Action(enum.StrEnum):
    """What becomes of a part that an operator wants to be sent again."""

    SEND = "send"
    LOOK_UP = "look_up"  #: whether it was sent is not known: the channel is asked, and it is sent if it is not there
    NOTHING = "nothing"  #: as `reason` says


class Resent(NamedTuple):
    part: OutboxRow
    action: Action
    reason: str | None = None
    number: int = 1  #: of the part in its message, whichever send of it this is


def first_send(part: OutboxRow, parts: Sequence[OutboxRow]) -> OutboxRow:
    """Of the message's parts the one that this repeats, or itself."""
    while part.resend_of is not None:
        part = next(earlier for earlier in parts if earlier.id == part.resend_of)
    return part


def resend(tx: Transaction, message_id: int, now: int, wall_now: int, wake: Wake) -> list[Resent] | None:
    """Each part's last send, if it failed, once more. None: there is no message of ours with this id."""
    found = tx.execute(f"{rows.OUTBOX} WHERE o.message_id = ? ORDER BY o.id", (message_id,)).fetchall()
    parts = [rows.to_outbox_row(row) for row in found]
    followed = {part.resend_of for part in parts}
    resent = [
        _resend(tx, part, now, wall_now)._replace(number=first_send(part, parts).part + 1)
        for part in parts
        if part.id not in followed
    ]
    resent.sort(key=lambda one: one.number)
    if any(one.action is not Action.NOTHING for one in resent):
        # At once, also where a turn of the thread backs off.
        wake(tx, [_thread_of(tx, parts[0])._replace(failing=True)])
    return resent or None


def _resend(tx: Transaction, row: OutboxRow, now: int, wall_now: int) -> Resent:
    if (reason := _why_not(tx, row, now, wall_now)) is not None:
        return Resent(row, Action.NOTHING, reason)
    if row.state == "sent":
        follow(tx, row)
        return Resent(row, Action.SEND)
    refused = row.state == "failed" and row.revoked is None and is_of_channel(row.error_code)
    is_unsent = row.attempts == 0 or refused
    tx.execute(REVIVE, {"state": "ready" if is_unsent else "ambiguous", "id": row.id})
    return Resent(row, Action.SEND if is_unsent else Action.LOOK_UP)


def _why_not(tx: Transaction, row: OutboxRow, now: int, wall_now: int) -> str | None:
    if row.state in ("ready", "sending"):
        return "it is on its way"
    if row.arrived:
        return "it has arrived"
    if row.state == "sent" and row.delivery not in DEAD_ENDS:
        return f"it is at the channel, which says {row.delivery or 'nothing yet'}"
    refusal = may_send_again(tx, row, now, wall_now)
    return None if refusal is None else refusal.reason


def is_of_channel(error_code: str | None) -> bool:
    """Whether the channel itself has refused it: our own reasons are words, a channel's are numbers."""
    return error_code is not None and error_code.isdigit()


REVIVE: Final = """
    UPDATE outbox SET state = :state, error = NULL, error_code = NULL, settled_at = NULL, revoked = NULL,
        ended_by = NULL
    WHERE id = :id
"""
