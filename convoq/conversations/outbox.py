"""The outbox: our messages on their way to the channel, one row a part, each step on disk before the next."""

from __future__ import annotations

from collections.abc import Iterable

from convoq.channels.base import DeliveryStatus
from convoq.conversations import rows
from convoq.conversations.records import Conversation, OutboxRow
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.queue.base import Fence


class Outbox:
    """Each method is one transaction, fsynced. A row goes `ready -> sending -> sent | failed | ambiguous`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_pending(self, conversation_id: int) -> tuple[OutboxRow, Conversation] | None:
        """The oldest part not yet settled, of this conversation or an earlier one with the same person."""

        def unit(tx: Transaction) -> tuple[OutboxRow, Conversation] | None:
            row = tx.execute(f"{rows.OUTBOX} {PENDING}", (conversation_id,)).fetchone()
            if row is None:
                return None
            pending = rows.to_outbox_row(row)
            return pending, rows.conversation(tx, pending.conversation_id)

        return await self._database.read(unit)

    async def begin(self, row: OutboxRow, fence: Fence) -> int | None:
        """Commits that a send is about to be tried, before it is; returns when. Raises LeaseLost.

        None when the row is not ready any more: a status has proven an earlier send meanwhile.
        """
        now = self._database.clock.now()

        def unit(tx: Transaction) -> int | None:
            fence.check(tx)
            begun = tx.execute(
                """UPDATE outbox SET state = 'sending', attempts = attempts + 1, attempted_at = ?
                   WHERE id = ? AND state = 'ready'""",
                (now, row.id),
            )
            return now if begun.rowcount == 1 else None

        return await self._database.write(unit)

    async def sent(self, row: OutboxRow, provider_id: str, *, reconciled: bool = False) -> None:
        """The channel has it. True whoever holds the claim, so no fence."""
        now = self._database.clock.now()

        def unit(tx: Transaction) -> None:
            tx.execute(
                """UPDATE outbox SET state = 'sent', provider_id = ?, settled_at = ?, reconciled = ?, error = NULL
                   WHERE id = ? AND state <> 'sent'""",
                (provider_id, now, reconciled, row.id),
            )

        await self._database.write(unit)

    async def again(self, row: OutboxRow, error: str, fence: Fence) -> None:
        """Certainly not sent: it may be sent again."""
        await self._set(row, "ready", error, fence)

    async def unclear(self, row: OutboxRow, error: str, fence: Fence) -> None:
        """May have been sent: to be looked up before anything is sent again."""
        await self._set(row, "ambiguous", error, fence)

    async def not_sent(self, row: OutboxRow, fence: Fence) -> None:
        """The channel was asked and does not have it: it may be sent again."""

        def unit(tx: Transaction) -> None:
            fence.check(tx)
            tx.execute(
                """UPDATE outbox SET state = 'ready'
                   WHERE id = ? AND state IN ('sending', 'ambiguous') AND attempts = ?""",
                (row.id, row.attempts),
            )

        await self._database.write(unit)

    async def fail(self, row: OutboxRow, error: str, code: str | None, fence: Fence) -> None:
        """Will never be sent, and neither will the message's later parts."""
        now = self._database.clock.now()

        def unit(tx: Transaction) -> None:
            fence.check(tx)
            tx.execute(
                """UPDATE outbox SET state = 'failed', error = ?, error_code = ?, settled_at = ?
                   WHERE message_id = ? AND part >= ? AND state <> 'sent'""",
                (error, code, now, row.message_id, row.part),
            )

        await self._database.write(unit)

    async def opt_out(self, conversation: Conversation) -> None:
        """The channel says that the person has opted out."""
        now = self._database.clock.now()
        values = (now, conversation.contact.id)
        await self._database.write(
            lambda tx: tx.execute("UPDATE contacts SET opted_out_at = coalesce(opted_out_at, ?) WHERE id = ?", values)
        )

    async def unadopted(self, provider_ids: Iterable[str]) -> set[str]:
        """Those of the channel's ids that belong to no row yet."""
        wanted = set(provider_ids)

        def unit(tx: Transaction) -> set[str]:
            return {
                provider_id
                for provider_id in wanted
                if not tx.execute("SELECT 1 FROM outbox WHERE provider_id = ?", (provider_id,)).fetchone()
            }

        return await self._database.read(unit)

    async def record_delivery(self, status: DeliveryStatus) -> bool:
        """Moves a row's delivery status forward, never back; False when the message is none of ours.

        A status that carries our reference also proves a send whose answer was lost.
        """
        now = self._database.clock.now()

        def unit(tx: Transaction) -> bool:
            row = _find(tx, status)
            if row is None:
                return False
            outbox_id, state = row
            if state != "sent":
                tx.execute(PROVEN, (status.provider_id, now, state in ("sending", "ambiguous"), outbox_id))
            tx.execute(FORWARD, (status.status, status.rank, now, status.error_code, outbox_id, status.rank))
            return True

        return await self._database.write(unit)

    async def _set(self, row: OutboxRow, state: str, error: str, fence: Fence) -> None:
        def unit(tx: Transaction) -> None:
            fence.check(tx)
            tx.execute(
                "UPDATE outbox SET state = ?, error = ? WHERE id = ? AND state = 'sending'",
                (state, error, row.id),
            )

        await self._database.write(unit)


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
