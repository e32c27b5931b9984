"""Why messages of ours did not leave or did not arrive, by cause. Reads only."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.db.transaction import Transaction

EXAMPLES: Final = 5


class UnsentCause(NamedTuple):
    """Times are ms on the queue's clock."""

    code: str  #: the channel's, or a word of ours
    parts: int
    since: int
    newest: int
    error: str | None  #: of one of them
    people: int
    delivered_never: bool  #: they were sent, and did not arrive
    conversations: tuple[int, ...]  #: the newest, a few


def read_unsent(tx: Transaction, since: int) -> list[UnsentCause]:
    """From then on; the most first."""
    found = [
        UnsentCause(code or "", parts, oldest, newest, error, people, never, _examples(tx, sql, since, code))
        for never, causes, sql in ((False, FAILED, FAILED_IN), (True, UNDELIVERED, UNDELIVERED_IN))
        for code, parts, oldest, newest, error, people in tx.execute(causes, (since,)).fetchall()
    ]
    return sorted(found, key=lambda one: -one.parts)


def _examples(tx: Transaction, sql: str, since: int, code: str | None) -> tuple[int, ...]:
    return tuple(row[0] for row in tx.execute(sql, (since, code or "", EXAMPLES)).fetchall())


def _causes(which: str, at: str) -> str:
    return f"""
        SELECT o.error_code, count(*), min({at}), max({at}), max(o.error), count(DISTINCT o.thread_id)
        FROM outbox AS o WHERE {which} AND {at} >= ? GROUP BY o.error_code
    """


def _newest(which: str, at: str) -> str:
    return f"""
        SELECT o.conversation_id FROM outbox AS o
        WHERE {which} AND {at} >= ? AND coalesce(o.error_code, '') = ?
        GROUP BY o.conversation_id ORDER BY max(o.id) DESC LIMIT ?
    """


_FAILED: Final = ("o.state = 'failed'", "o.settled_at")
_UNDELIVERED: Final = (rows.UNDELIVERED, "o.delivery_at")
FAILED, FAILED_IN = _causes(*_FAILED), _newest(*_FAILED)
UNDELIVERED, UNDELIVERED_IN = _causes(*_UNDELIVERED), _newest(*_UNDELIVERED)
