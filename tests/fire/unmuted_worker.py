"""A real worker that does not look before each part whether it may still be sent: `python unmuted_worker.py work`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from convoq.cli import main
from convoq.conversations import outbox, rows
from convoq.conversations.records import Conversation, OutboxRow
from convoq.db.transaction import Transaction

mark_sending = outbox.mark_sending


def take_the_look_out() -> None:
    for name, stand_in in (
        ("next_pending", _next_pending), ("mark_sending", _mark_sending),
        ("require_token", _nothing), ("may_send_part", _nothing),
    ):  # fmt: skip
        if name not in vars(outbox):
            raise LookupError(f"{outbox.__name__} has no {name} any more: nothing would be taken out")
        vars(outbox)[name] = stand_in


def _next_pending(tx: Transaction, thread_id: int) -> tuple[OutboxRow, Conversation] | None:
    """What a take-over has stopped is as ready as before it."""
    found = tx.execute(
        f"{rows.OUTBOX} WHERE o.thread_id = ? AND ({rows.PENDS} OR {STOPPED}) ORDER BY o.id LIMIT 1", (thread_id,)
    )
    if (row := found.fetchone()) is None:
        return None
    pending = rows.to_outbox_row(row)
    state = "ready" if pending.state == "cancelled" else pending.state
    return replace(pending, state=state), rows.conversation(tx, pending.conversation_id)


def _mark_sending(tx: Transaction, row: OutboxRow, *rest: Any) -> Any:
    tx.execute(f"UPDATE outbox AS o SET state = 'ready' WHERE id = ? AND {STOPPED}", (row.id,))
    return mark_sending(tx, row, *rest)


def _nothing(*_: Any) -> None:
    return None


STOPPED = "o.state = 'cancelled' AND o.error_code = 'not_owner'"

if __name__ == "__main__":
    take_the_look_out()
    sys.exit(main(sys.argv[1:]))
