"""The outbox: our messages on their way to the channel, one row a part, each step on disk before the next."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from convoq.channels.base import DeliveryStatus, UsedTemplate
from convoq.clock import Clock
from convoq.conversations import alarms, rows
from convoq.conversations.consent import opt_out_as_told
from convoq.conversations.lifecycle import open_conversation, touch
from convoq.conversations.ownership import set_owner, take_back_unsent
from convoq.conversations.pacing import Airtime, Held, take_airtime, unlimited
from convoq.conversations.records import Conversation, OutboxRow
from convoq.conversations.rules import PAUSED, Refusal, may_send_part
from convoq.conversations.states import HandedReason, Owner, Status
from convoq.conversations.threads import reach, require_token, take_token
from convoq.db.store import Store
from convoq.db.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A message of our own to one person; `source` is what makes repeating it harmless."""

    channel: str
    our_address: str
    address: str
    text: str
    parts: tuple[str, ...]
    source: str
    asked_at: int  #: when it was enqueued: a contact that was erased since gets nothing of it


Again = Callable[[Transaction, int, float], object]


class Announced(NamedTuple):
    """An announcement that is on record, and the token under which it is delivered."""

    thread_id: int
    token: str
    first: OutboxRow | Refusal | None  #: its first part, if that is being sent now


class Outbox:
    """Each method is one transaction, fsynced. A row goes `ready -> sending -> sent | failed | ambiguous | cancelled`.

    What takes a token raises Fenced, and writes nothing, once another turn of the thread has begun.
    """

    def __init__(self, database: Store, wall: Clock, airtime: Airtime = unlimited) -> None:
        self._database = database
        self._wall = wall
        self._airtime = airtime

    async def next_pending(self, thread_id: int) -> tuple[OutboxRow, Conversation] | None:
        """The thread's oldest part that is not yet settled."""
        return await self._database.read(next_pending, thread_id)

    async def announce(self, announcement: Announcement) -> Announced | None:
        """A message of our own in its thread, which from then on no turn before it may write to any more.

        Its first part counts as being sent, unless another one pends or the rules forbid it. None: the person was
        erased since it was asked for, and nothing of it is kept.
        """
        return await self._database.write(
            announce, announcement, self._database.clock.now(), self._wall.now(), self._airtime
        )

    async def divide(self, row: OutboxRow, bodies: Sequence[str], token: str) -> bool:
        """A message that is on record as one part, before the first try to send it, becomes several.

        False, and nothing changed, for any other.
        """
        return await self._database.write(divide, row, bodies, token)

    async def mark_sending(self, row: OutboxRow, token: str) -> OutboxRow | Refusal | Held | None:
        """Commits that a send is about to be tried, before it is; the row as it is now.

        A Refusal when the rules forbid it at that moment: then the message's parts from this one on have failed. None
        when the row is not ready any more: a status has proven an earlier send meanwhile. Held: not yet.
        """
        now = self._database.clock.now()
        return await self._database.write(mark_sending, row, now, self._wall.now(), token, self._airtime)

    async def mark_sent(self, row: OutboxRow, provider_id: str, *, reconciled: bool = False) -> None:
        """The channel has it. True whatever has become of the turn, so no token."""
        await self._database.write(mark_sent, row, provider_id, reconciled, self._database.clock.now())

    async def mark_ready(
        self, row: OutboxRow, token: str, *, because: str | None = None, is_refused: bool = False
    ) -> None:
        """Certainly not sent: it may be sent again, unless it was revoked; then it is given up.

        `is_refused`: the channel refuses our account, so nothing is sent from that address until it is mended.
        """
        await self._database.write(mark_ready, row, because, self._database.clock.now(), token, is_refused)

    async def mark_ambiguous(self, row: OutboxRow, token: str, *, because: str) -> None:
        """May have been sent: to be looked up before anything is sent again."""
        await self._database.write(mark_ambiguous, row, because, token)

    async def mark_failed(self, row: OutboxRow, token: str, *, because: str, code: str | None) -> None:
        """Will never be sent, and neither will the message's later parts."""
        await self._database.write(mark_failed, row, because, code, self._database.clock.now(), token)

    async def mark_opted_out(self, row: OutboxRow, *, because: str, code: str | None) -> None:
        """Will never be sent, because the person has opted out: that counts as the person's own STOP.

        True whatever has become of the turn, so no token.
        """
        await self._database.write(mark_opted_out, row, because, code, self._database.clock.now())

    async def unadopted(self, provider_ids: Iterable[str]) -> set[str]:
        """Those of the channel's ids that belong to no row yet."""
        return await self._database.read(unadopted, set(provider_ids))

    async def record_delivery(self, status: DeliveryStatus, again: Again) -> bool:
        """Moves a row's delivery status forward, never back; False when the message is none of ours.

        A status that carries our reference also proves a send whose answer was lost. `again` is called in the same
        transaction with a part that is to be sent once more, and the seconds until then.
        """
        return await self._database.write(record_delivery, status, again, self._database.clock.now())


def next_pending(tx: Transaction, thread_id: int) -> tuple[OutboxRow, Conversation] | None:
    row = tx.execute(f"{rows.OUTBOX} WHERE o.thread_id = ? AND {rows.PENDS} ORDER BY o.id LIMIT 1", (thread_id,))
    if (found := row.fetchone()) is None:
        return None
    pending = rows.to_outbox_row(found)
    return pending, rows.conversation(tx, pending.conversation_id)


def announce(
    tx: Transaction, announcement: Announcement, now: int, wall_now: int, airtime: Airtime = unlimited
) -> Announced | None:
    place = (announcement.channel, announcement.our_address, announcement.address)
    reached = reach(tx, *place, None, now, accepted_at=announcement.asked_at)
    if reached is None:
        return None
    _, thread = reached
    token = take_token(tx, thread.id)
    known = tx.execute("SELECT 1 FROM messages WHERE source = ?", (announcement.source,)).fetchone()
    if known is not None:
        return Announced(thread.id, token, None)
    free = not rows.pends(tx, thread.id)
    conversation_id = open_conversation(tx, thread.id, now, now, who="system")
    message_id = add_outgoing(
        tx, thread.id, conversation_id, "system", announcement.source, announcement.text, announcement.parts, now,
        wall_now,
    )  # fmt: skip
    touch(tx, conversation_id, now)
    first = send_first(tx, message_id, now, wall_now, token, airtime) if free else None
    return Announced(thread.id, token, None if isinstance(first, Held) else first)


def add_outgoing(
    tx: Transaction,
    thread_id: int,
    conversation_id: int,
    author: str,
    source: str,
    text: str,
    parts: Sequence[str],
    now: int,
    wall_now: int,
    *,
    written_by: str | None = None,
    template: UsedTemplate | None = None,
) -> int:
    """A message of ours on record, its parts ready to be sent; its id. One that is sent as a template has one part."""
    row = tx.execute(
        """INSERT INTO messages (thread_id, conversation_id, direction, author, source, body, description, at, wall_at,
               written_by)
           VALUES (?, ?, 'out', ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
        (thread_id, conversation_id, author, source, text, text, now, wall_now, written_by),
    ).fetchone()
    message_id = int(row[0])
    _add_parts(tx, thread_id, conversation_id, message_id, parts, template)
    return message_id


def _add_parts(
    tx: Transaction, thread_id: int, conversation_id: int, message_id: int, bodies: Sequence[str],
    template: UsedTemplate | None = None,
) -> None:  # fmt: skip
    tx.executemany(
        """INSERT INTO outbox (reference, thread_id, conversation_id, message_id, part, body, state, template_sid,
               template_variables)
           VALUES (?, ?, ?, ?, ?, ?, 'ready', ?, ?)""",
        [
            (secrets.token_hex(8), thread_id, conversation_id, message_id, part, body, *(template or (None, None)))
            for part, body in enumerate(bodies)
        ],
    )


def divide(tx: Transaction, row: OutboxRow, bodies: Sequence[str], token: str) -> bool:
    require_token(tx, row.thread_id, token)
    if not tx.execute(DROP_WHOLE, (row.id, row.id)).rowcount:
        return False
    _add_parts(tx, row.thread_id, row.conversation_id, row.message_id, bodies)
    return True


DROP_WHOLE = """
    DELETE FROM outbox WHERE id = ? AND state = 'ready' AND attempts = 0 AND resend_of IS NULL
        AND NOT EXISTS (SELECT 1 FROM outbox AS p WHERE p.message_id = outbox.message_id AND p.id <> ?)
"""


def send_first(
    tx: Transaction, message_id: int, now: int, wall_now: int, token: str, airtime: Airtime
) -> OutboxRow | Refusal | Held | None:
    """The message's first part as one that is being sent, for who has just written it and nothing else pends."""
    found = tx.execute(f"{rows.OUTBOX} WHERE o.message_id = ? AND o.part = 0", (message_id,)).fetchone()
    return mark_sending(tx, rows.to_outbox_row(found), now, wall_now, token, airtime)


def mark_sending(
    tx: Transaction, row: OutboxRow, now: int, wall_now: int, token: str, airtime: Airtime = unlimited
) -> OutboxRow | Refusal | Held | None:
    require_token(tx, row.thread_id, token)
    conversation = rows.conversation(tx, row.conversation_id)
    refusal = may_send_part(conversation, row, now, wall_now)
    if refusal is not None:
        fail_parts(tx, row, refusal.reason, refusal.code, now, state=refusal.state)
        if refusal.code == PAUSED and conversation.status is not Status.CLOSED:
            # As what comes in during the pause does, it waits for a person of ours, or for the end of the pause.
            set_owner(
                tx, conversation, Owner.WAITING, who="system", why=refusal.reason, now=now, reason=HandedReason.PAUSED
            )
        return refusal
    if row.state == "ready" and (held := take_airtime(tx, row, airtime(row), now)) is not None:
        return held
    begun = tx.execute(
        """UPDATE outbox SET state = 'sending', attempts = attempts + 1, attempted_at = ?, attempted_wall = ?
           WHERE id = ? AND state = 'ready' RETURNING attempts""",
        (now, wall_now, row.id),
    ).fetchone()
    return begun and replace(row, state="sending", attempts=begun[0], attempted_at=now, attempted_wall=wall_now)


def mark_sent(tx: Transaction, row: OutboxRow, provider_id: str, reconciled: bool, now: int) -> None:
    tx.execute(
        """UPDATE outbox SET state = 'sent', provider_id = ?, settled_at = ?, reconciled = ?, error = NULL
           WHERE id = ? AND state <> 'sent'""",
        (provider_id, now, reconciled, row.id),
    )


def mark_ready(
    tx: Transaction, row: OutboxRow, because: str | None, now: int, token: str, is_refused: bool = False
) -> None:
    require_token(tx, row.thread_id, token)
    if is_refused:
        alarms.provider_refused(tx, row.channel, now, row.our_address)
    # Revoked meanwhile, it must not be sent any more.
    ended = tx.execute(
        """UPDATE outbox SET error = coalesce(?, error), error_code = coalesce(revoked, error_code),
               settled_at = CASE WHEN revoked IS NULL THEN settled_at ELSE ? END,
               state = CASE WHEN revoked IS NULL THEN 'ready'
                       WHEN revoked IN ('cancelled', 'not_owner') THEN 'cancelled' ELSE 'failed' END
           WHERE id = ? AND state IN ('sending', 'ambiguous') AND attempts = ? RETURNING state""",
        (because, now, row.id, row.attempts),
    ).fetchone()
    if ended == ("cancelled",):
        take_back_unsent(tx, row.conversation_id)


def mark_ambiguous(tx: Transaction, row: OutboxRow, because: str, token: str) -> None:
    require_token(tx, row.thread_id, token)
    tx.execute(
        "UPDATE outbox SET state = 'ambiguous', error = ? WHERE id = ? AND state = 'sending' AND attempts = ?",
        (because, row.id, row.attempts),
    )


def mark_failed(tx: Transaction, row: OutboxRow, because: str, code: str | None, now: int, token: str) -> None:
    require_token(tx, row.thread_id, token)
    fail_parts(tx, row, because, code, now)
    alarms.message_undelivered(tx, row.conversation_id, code, now)


def fail_parts(
    tx: Transaction, row: OutboxRow, because: str, code: str | None, now: int, *, state: str = "failed"
) -> None:
    """This part and the message's later ones will never be sent; one that may have been is looked up all the same."""
    tx.execute(
        """UPDATE outbox SET state = ?, error = ?, error_code = ?, settled_at = ?
           WHERE message_id = ? AND (id = ? AND state IN ('ready', 'sending', 'ambiguous')
                                     OR part > ? AND state = 'ready')""",
        (state, because, code, now, row.message_id, row.id, row.part),
    )


def mark_opted_out(tx: Transaction, row: OutboxRow, because: str, code: str | None, now: int) -> None:
    fail_parts(tx, row, because, code, now)
    opt_out_as_told(tx, row.thread_id, now, attempted_at=row.attempted_at or now)


def unadopted(tx: Transaction, provider_ids: set[str]) -> set[str]:
    return {
        provider_id
        for provider_id in provider_ids
        if not tx.execute("SELECT 1 FROM outbox WHERE provider_id = ?", (provider_id,)).fetchone()
    }


def record_delivery(tx: Transaction, status: DeliveryStatus, again: Again, now: int) -> bool:
    row = _find(tx, status)
    if row is None:
        return False
    if row.state != "sent":
        tx.execute(PROVEN, (status.provider_id, now, row.state in ("sending", "ambiguous"), row.id))
    if status.arrived:
        _note_arrival(tx, row.id, now)
    moved = tx.execute(FORWARD, (status.status, status.rank, now, status.error_code, row.id, status.rank)).rowcount
    if not (moved or status.known):
        tx.execute(NOTE, (f'the channel has also said "{status.status}", which convoq does not know', row.id))
    if moved and status.opted_out:
        opt_out_as_told(tx, row.thread_id, now, attempted_at=row.attempted_at)
    # What was sent again already is not sent a third time. Said again during the pause, it may be for want of the job.
    waits = row.error == rows.TO_BE_SENT_AGAIN and row.delivery == status.status
    if (moved or waits) and status.again_after is not None and row.may_be_repeated:
        tx.execute("UPDATE outbox SET error = ? WHERE id = ?", (rows.TO_BE_SENT_AGAIN, row.id))
        again(tx, row.id, status.again_after)
    elif moved and status.failed:
        alarms.message_undelivered(tx, row.conversation_id, status.error_code, now)
    return True


def _note_arrival(tx: Transaction, part_id: int, now: int) -> None:
    """Whatever else is said of it: what has arrived is not sent again, and no later send of it counts any more."""
    tx.execute("UPDATE outbox SET arrived = 1, error = NULL WHERE id = ?", (part_id,))
    tx.execute(ARRIVED_BEFORE, {"part": part_id, "now": now})


# One that is under way is looked up, and given up where it was not sent.
ARRIVED_BEFORE = """
    WITH RECURSIVE later (id) AS (
        SELECT id FROM outbox WHERE resend_of = :part
        UNION ALL SELECT o.id FROM outbox AS o JOIN later ON o.resend_of = later.id)
    UPDATE outbox SET arrived = 1,
        state = CASE state WHEN 'ready' THEN 'cancelled' ELSE state END,
        settled_at = CASE state WHEN 'ready' THEN :now ELSE settled_at END,
        error_code = CASE state WHEN 'ready' THEN 'arrived' ELSE error_code END,
        error = CASE state WHEN 'ready' THEN 'the first one has arrived after all' ELSE error END,
        revoked = CASE WHEN state IN ('sending', 'ambiguous') THEN coalesce(revoked, 'cancelled') ELSE revoked END
    WHERE id IN (SELECT id FROM later)
"""
PROVEN = "UPDATE outbox SET state = 'sent', provider_id = ?, settled_at = ?, reconciled = ? WHERE id = ?"
FORWARD = """
    UPDATE outbox SET delivery = ?, delivery_rank = ?, delivery_at = ?, error_code = coalesce(?, error_code)
    WHERE id = ? AND delivery_rank < ?
"""


NOTE = "UPDATE outbox SET error = coalesce(error, ?) WHERE id = ?"


class _Reported(NamedTuple):
    """The row that a status is about."""

    id: int
    state: str
    thread_id: int
    conversation_id: int
    attempted_at: int
    arrived: int
    resend_of: int | None
    error: str | None
    delivery: str | None
    revoked: str | None

    @property
    def may_be_repeated(self) -> bool:
        """Not what was given up before this said that it had been sent: only the act that gave it up brings it back."""
        is_given_up = self.revoked is not None or self.state in ("failed", "cancelled")
        return not (is_given_up or self.arrived or self.resend_of is not None)


def _find(tx: Transaction, status: DeliveryStatus) -> _Reported | None:
    """By the channel's id; by our reference only where no other id is known, so that no status goes astray."""
    row = tx.execute(FOUND + "provider_id = ?", (status.provider_id,)).fetchone()
    if row is None and status.reference is not None:
        row = tx.execute(FOUND + "reference = ? AND provider_id IS NULL", (status.reference,)).fetchone()
    return None if row is None else _Reported(*row)


FOUND = """
    SELECT id, state, thread_id, conversation_id, coalesce(attempted_at, 0), arrived, resend_of, error, delivery,
        revoked
    FROM outbox WHERE
"""
