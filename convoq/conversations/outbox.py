"""The outbox: our messages on their way to the channel, one row a part, each step on disk before the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from convoq.channels.base import DeliveryStatus
from convoq.conversations import rows
from convoq.conversations.records import Conversation, OutboxRow
from convoq.conversations.rules import Refusal, may_send
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.queue.base import Fence


class Outbox:
    """Each method is one transaction, fsynced. A row goes `ready -> sending -> sent | failed | ambiguous`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_pending(self, conversation_id: int) -> tuple[OutboxRow, Conversation] | None:
        """The oldest part not yet settled, of this conversation or an earlier one with the same person."""
        return await self._database.read(next_pending, conversation_id)

    async def mark_sending(self, row: OutboxRow, fence: Fence) -> OutboxRow | Refusal | None:
        """Commits that a send is about to be tried, before it is; the row as it is now. Raises LeaseLost.

        A Refusal when the rules forbid it at that moment: then the message's parts from this one on have failed. None
        when the row is not ready any more: a status has proven an earlier send meanwhile.
        """
        return await self._database.write(mark_sending, row, self._database.clock.now(), fence)

    async def mark_sent(self, row: OutboxRow, provider_id: str, *, reconciled: bool = False) -> None:
        """The channel has it. True whichever worker holds the claim, so no fence."""
        await self._database.write(mark_sent, row, provider_id, reconciled, self._database.clock.now())

    async def mark_ready(self, row: OutboxRow, fence: Fence, *, because: str | None = None) -> None:
        """Certainly not sent: it may be sent again."""
        await self._database.write(mark_ready, row, because, fence)

    async def mark_ambiguous(self, row: OutboxRow, fence: Fence, *, because: str) -> None:
        """May have been sent: to be looked up before anything is sent again."""
        await self._database.write(mark_ambiguous, row, because, fence)

    async def mark_failed(self, row: OutboxRow, fence: Fence, *, because: str, code: str | None) -> None:
        """Will never be sent, and neither will the message's later parts."""
        await self._database.write(mark_failed, row, because, code, self._database.clock.now(), fence)

    async def opt_out(self, conversation: Conversation) -> None:
        """The channel says that the person has opted out."""
        await self._database.write(opt_out, conversation.contact.id, self._database.clock.now())

    async def unadopted(self, provider_ids: Iterable[str]) -> set[str]:
        """Those of the channel's ids that belong to no row yet."""
        return await self._database.read(unadopted, set(provider_ids))

    async def record_delivery(self, status: DeliveryStatus) -> bool:
        """Moves a row's delivery status forward, never back; False when the message is none of ours.

        A status that carries our reference also proves a send whose answer was lost.
        """
        return await self._database.write(record_delivery, status, self._database.clock.now())


def next_pending(tx: Transaction, conversation_id: int) -> tuple[OutboxRow, Conversation] | None:
    row = tx.execute(f"{rows.OUTBOX} {PENDING}", (conversation_id,)).fetchone()
    if row is None:
        return None
    pending = rows.to_outbox_row(row)
    return pending, rows.conversation(tx, pending.conversation_id)


def mark_sending(tx: Transaction, row: OutboxRow, now: int, fence: Fence) -> OutboxRow | Refusal | None:
    fence.check(tx)
    conversation = rows.conversation(tx, row.conversation_id)
    refusal = may_send(conversation, author=row.author, committed_at=row.committed_at, now=now)
    if refusal is not None:
        fail_parts(tx, row, refusal.reason, refusal.code, now)
        return refusal
    begun = tx.execute(
        """UPDATE outbox SET state = 'sending', attempts = attempts + 1, attempted_at = ?
           WHERE id = ? AND state = 'ready' RETURNING attempts""",
        (now, row.id),
    ).fetchone()
    return None if begun is None else replace(row, state="sending", attempts=begun[0], attempted_at=now)


def mark_sent(tx: Transaction, row: OutboxRow, provider_id: str, reconciled: bool, now: int) -> None:
    tx.execute(
        """UPDATE outbox SET state = 'sent', provider_id = ?, settled_at = ?, reconciled = ?, error = NULL
           WHERE id = ? AND state <> 'sent'""",
        (provider_id, now, reconciled, row.id),
    )


def mark_ready(tx: Transaction, row: OutboxRow, because: str | None, fence: Fence) -> None:
    fence.check(tx)
    tx.execute(
        """UPDATE outbox SET state = 'ready', error = coalesce(?, error)
           WHERE id = ? AND state IN ('sending', 'ambiguous') AND attempts = ?""",
        (because, row.id, row.attempts),
    )


def mark_ambiguous(tx: Transaction, row: OutboxRow, because: str, fence: Fence) -> None:
    fence.check(tx)
    tx.execute(
        "UPDATE outbox SET state = 'ambiguous', error = ? WHERE id = ? AND state = 'sending' AND attempts = ?",
        (because, row.id, row.attempts),
    )


def mark_failed(tx: Transaction, row: OutboxRow, because: str, code: str | None, now: int, fence: Fence) -> None:
    fence.check(tx)
    fail_parts(tx, row, because, code, now)


def fail_parts(tx: Transaction, row: OutboxRow, because: str, code: str | None, now: int) -> None:
    """This part and the message's later ones will never be sent."""
    tx.execute(
        """UPDATE outbox SET state = 'failed', error = ?, error_code = ?, settled_at = ?
           WHERE message_id = ? AND part >= ? AND state <> 'sent'""",
        (because, code, now, row.message_id, row.part),
    )


def opt_out(tx: Transaction, contact_id: int, now: int) -> None:
    tx.execute("UPDATE contacts SET opted_out_at = coalesce(opted_out_at, ?) WHERE id = ?", (now, contact_id))


def unadopted(tx: Transaction, provider_ids: set[str]) -> set[str]:
    return {
        provider_id
        for provider_id in provider_ids
        if not tx.execute("SELECT 1 FROM outbox WHERE provider_id = ?", (provider_id,)).fetchone()
    }


def record_delivery(tx: Transaction, status: DeliveryStatus, now: int) -> bool:
    row = _find(tx, status)
    if row is None:
        return False
    outbox_id, state = row
    if state != "sent":
        tx.execute(PROVEN, (status.provider_id, now, state in ("sending", "ambiguous"), outbox_id))
    tx.execute(FORWARD, (status.status, status.rank, now, status.error_code, outbox_id, status.rank))
    return True


PENDING = """
    WHERE o.state IN ('ready', 'sending', 'ambiguous') AND o.conversation_id IN
        (SELECT other.id FROM conversations AS this JOIN conversations AS other
         ON other.contact_id = this.contact_id AND other.our_address = this.our_address WHERE this.id = ?)
    ORDER BY o.id LIMIT 1
"""
PROVEN = "UPDATE outbox SET state = 'sent', provider_id = ?, settled_at = ?, reconciled = ? WHERE id = ?"
FORWARD = """
    UPDATE outbox SET delivery = ?, delivery_rank = ?, delivery_at = ?, error_code = coalesce(?, error_code)
    WHERE id = ? AND delivery_rank < ?
"""


def _find(tx: Transaction, status: DeliveryStatus) -> tuple[int, str] | None:
    """By the channel's id; by our reference only where no other id is known, so that no status goes astray."""
    row = tx.execute("SELECT id, state FROM outbox WHERE provider_id = ?", (status.provider_id,)).fetchone()
    if row is None and status.reference is not None:
        row = tx.execute(
            "SELECT id, state FROM outbox WHERE reference = ? AND provider_id IS NULL", (status.reference,)
        ).fetchone()
    return (int(row[0]), str(row[1])) if row else None
