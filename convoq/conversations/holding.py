"""What a rule holds back at this moment, and until when."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import loops, pacing
from convoq.conversations.pausing import list_pauses
from convoq.db.transaction import Transaction

LOOP: Final = "loop"  #: the rule of a chat in which a machine seems to write


class Hold(NamedTuple):
    """Times are ms on the queue's clock."""

    rule: str  #: loop, pause, rate; or why parts were not sent: window, stale, opted_out, ...
    detail: str
    since: int | None = None
    until: int | None = None  #: None: until a person of ours, or the customer, does something
    conversation_id: int | None = None


def find_holds(tx: Transaction, now: int, since: int) -> list[Hold]:
    """Those of now; and what was not sent for a rule, from `since` on."""
    senders = [
        Hold("rate", f"{sender.our_address} sends no faster than it may", until=sender.until)
        for sender in pacing.held_senders(tx, now)
    ]
    unsent = [
        Hold(code, f"{count} not sent in the last 24 hours: {reason}")
        for code, count, reason in tx.execute(UNSENT, (since,))
    ]
    return [*_pauses(tx), *senders, *unsent]


def _pauses(tx: Transaction) -> list[Hold]:
    found = []
    for pause in list_pauses(tx):
        rule, why = (LOOP if pause.who == loops.WHO else "pause"), pause.reason or f"by {pause.who}"
        kind, _, subject = pause.scope.partition(":")
        newest = tx.execute(NEWEST, (int(subject),)).fetchone()[0] if kind == "thread" else None
        where = {"thread": f"in conversation {newest}", "number": f"at {subject}"}.get(kind, "everywhere")
        found.append(Hold(rule, f"the AI is paused {where}: {why}", pause.paused_at, conversation_id=newest))
    return found


NEWEST: Final = "SELECT max(id) FROM conversations WHERE thread_id = ?"
# Our own reasons are words, the channel's are numbers.
UNSENT: Final = """
    SELECT error_code, count(*) AS parts, max(error) FROM outbox WHERE state = 'failed' AND settled_at >= ?
        AND substr(error_code, 1, 1) NOT BETWEEN '0' AND '9'
    GROUP BY error_code ORDER BY parts DESC, error_code
"""
