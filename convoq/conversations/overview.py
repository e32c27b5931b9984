"""All conversations at one moment. Reads only."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from convoq.conversations import rows
from convoq.conversations.states import Status
from convoq.db.transaction import Transaction

REPLY_SAMPLE = 200  # replies that their times are taken from


class ModelRefusal(NamedTuple):
    """A model that refuses whatever it is asked, until the account or the settings are mended."""

    model: str
    error: str | None


class Undelivered(NamedTuple):
    """Parts that the channel refused or could not deliver, and that are not sent again, by its code."""

    code: str
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All conversations at one moment. Times are ms on the queue's clock."""

    statuses: dict[str, int] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)  #: of those that are not closed
    waiting: int = 0  #: recorded messages of people that have no outcome yet
    waiting_since: int | None = None  #: the oldest of them
    pending: dict[str, int] = field(default_factory=dict)  #: parts of ours by state: ready, sending, ambiguous
    failed: int = 0  #: parts that were never sent, since the time that was asked for
    undelivered: int = 0  #: parts that were sent and did not arrive, since then
    undelivered_by_code: tuple[Undelivered, ...] = ()  #: those of both that have a code of the channel's, most first
    refusals: tuple[ModelRefusal, ...] = ()  #: models whose newest request was refused whatever it had been, of late
    reply_times: tuple[float, ...] = ()  #: seconds from a turn's last message to its sent reply; the newest ones


def read_overview(tx: Transaction, since: int, refused_since: int) -> Overview:
    statuses: defaultdict[str, int] = defaultdict(int)
    owners: defaultdict[str, int] = defaultdict(int)
    for status, owner, number in tx.execute("SELECT status, owner, count(*) FROM conversations GROUP BY status, owner"):
        statuses[status] += number
        if status != Status.CLOSED:
            owners[owner] += number
    recorded = tx.execute(WAITING_RECORDED).fetchone()
    (failed,) = tx.execute(
        "SELECT count(*) FROM outbox WHERE state = 'failed' AND settled_at >= ?", (since,)
    ).fetchone()
    (undelivered,) = tx.execute(UNDELIVERED, (since,)).fetchone()
    return Overview(
        statuses=dict(statuses),
        owners=dict(owners),
        waiting=recorded[0],
        waiting_since=recorded[1],
        pending=dict(tx.execute(PENDING).fetchall()),
        failed=failed,
        undelivered=undelivered,
        undelivered_by_code=tuple(
            Undelivered(*found) for found in tx.execute(BY_CODE, {"since": since, "again": rows.TO_BE_SENT_AGAIN})
        ),
        refusals=tuple(ModelRefusal(*found) for found in tx.execute(REFUSALS, (refused_since,))),
        reply_times=tuple(ms / 1000 for (ms,) in tx.execute(REPLY_TIMES, (REPLY_SAMPLE,))),
    )


WAITING_RECORDED = f"SELECT count(*), min(m.at) FROM messages AS m WHERE {rows.WAITS}"
# Among the newest calls: more are not needed to meet each model that is asked.
REFUSALS = """
    SELECT model, error FROM (
        SELECT model, outcome, error, at, row_number() OVER (PARTITION BY model ORDER BY id DESC) AS age
        FROM model_calls WHERE id > (SELECT max(id) FROM model_calls) - 200
    ) AS newest WHERE age = 1 AND outcome IN ('account', 'misconfigured') AND at >= ?
"""
PENDING = "SELECT state, count(*) FROM outbox WHERE state IN ('ready', 'sending', 'ambiguous') GROUP BY state"
UNDELIVERED = f"SELECT count(*) FROM outbox AS o WHERE {rows.UNDELIVERED} AND o.delivery_at >= ?"
# Our own reasons (a STOP, a closed window) are words; a channel's are numbers.
BY_CODE = f"""
    SELECT error_code, count(*) AS parts FROM (
        SELECT error_code FROM outbox WHERE state = 'failed' AND settled_at >= :since
        UNION ALL SELECT o.error_code FROM outbox AS o
        WHERE {rows.UNDELIVERED} AND o.delivery_at >= :since AND coalesce(o.error, '') <> :again
    ) AS failed
    WHERE substr(error_code, 1, 1) BETWEEN '0' AND '9' GROUP BY error_code ORDER BY parts DESC, error_code
"""
# The source of a reply names the last message of its turn.
REPLY_TIMES = """
    SELECT o.settled_at - asked.at
    FROM (SELECT message_id, settled_at FROM outbox WHERE part = 0 AND state = 'sent' ORDER BY id DESC LIMIT ?) AS o
    JOIN messages AS m ON m.id = o.message_id AND m.author = 'ai' AND m.source LIKE 'turn:%'
    JOIN messages AS asked
    ON asked.id = CAST(substr(m.source, 6 + instr(substr(m.source, 6), ':')) AS BIGINT)
"""
