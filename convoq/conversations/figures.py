"""What happened in a span of time, added up hour by hour. Reads only, and only what lies within the span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from convoq.conversations import rows
from convoq.db.transaction import Transaction

HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """ms on the queue's clock: from the start on, before the end."""

    start: int
    end: int
    ours: tuple[str, ...] | None = None  #: over these numbers of ours; None: over all


class Accepted(NamedTuple):
    """Messages of people that came in one hour of the span."""

    hour: int
    outcome: str | None
    by_person: bool  #: of ours
    number: int


class Replied(NamedTuple):
    """Answers of the AI's that took about as long, from the last message to the first part that was sent."""

    hour: int
    tenths: int  #: of a second
    number: int


class HandedOver(NamedTuple):
    """A chat that was handed over. Times are ms."""

    at: int
    code: str
    ended_at: int | None  #: when it did not wait any more; None: it still does
    taken: bool  #: by a person of ours


class HourCount(NamedTuple):
    hour: int
    name: str
    number: int


class DayCost(NamedTuple):
    """Money is in millionths of the currency."""

    day: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost: int
    currency: str | None
    unpriced: int


class Opened(NamedTuple):
    """Conversations that began in one hour of the span."""

    hour: int
    by_ai_alone: bool  #: no person of ours had one, and none was awaited
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    accepted: list[Accepted]
    replied: list[Replied]
    handed_over: list[HandedOver]
    drafts: list[HourCount]  #: by their state: committed, superseded
    undelivered: list[HourCount]  #: by code, also what was never sent
    opened: list[Opened]
    costs: list[DayCost]


def read_happened(tx: Transaction, span: Span) -> Happened:
    messages = _ids(tx, "messages", "at", span)
    return Happened(
        accepted=[
            Accepted(hour, outcome, bool(by), number)
            for hour, outcome, by, number in _rows(tx, ACCEPTED, "m.thread_id", span, messages)
        ],
        replied=[Replied(*row) for row in _rows(tx, REPLIED, "m.thread_id", span, messages)],
        handed_over=[_handed_over(tx, *row) for row in _rows(tx, HANDED, OF_CHAT, span)],
        drafts=[HourCount(*row) for row in _rows(tx, DRAFTS, OF_CHAT, span, _ids(tx, "drafts", "created_at", span))],
        undelivered=[
            HourCount(hour, code or "", number)
            for statement in (FAILED, UNDELIVERED)
            for hour, code, number in _rows(tx, statement, "o.thread_id", span)
        ],
        opened=[
            Opened(hour, bool(alone), number)
            for hour, alone, number in _rows(
                tx, OPENED, "c.thread_id", span, _ids(tx, "conversations", "opened_at", span)
            )
        ],
        costs=[
            DayCost(day, model, requests, int(sent), int(written), int(cost), currency, int(unpriced))
            for day, model, requests, sent, written, cost, currency, unpriced in _rows(tx, COSTS, OF_CHAT, span)
        ],
    )


def read_minutes(tx: Transaction, start: int, end: int) -> list[tuple[int, int, int]]:
    """By minute since the start: messages that came, and those of them that nobody has answered."""
    span = Span(start=start, end=end)
    found = _rows(tx, MINUTES, "m.thread_id", span, _ids(tx, "messages", "at", span))
    return [(minute, came, int(waits)) for minute, came, waits in found]


def _handed_over(tx: Transaction, transition_id: int, conversation_id: int, at: int, code: str | None) -> HandedOver:
    ended = tx.execute(ENDED, (conversation_id, transition_id)).fetchone()
    ended_at, owner = ended or (None, None)
    return HandedOver(at, code or "other", ended_at, owner == "human")


def _rows(
    tx: Transaction, statement: str, thread: str, span: Span, ids: tuple[int, int] | None = None
) -> list[tuple[Any, ...]]:
    values: dict[str, object] = {"start": span.start, "end": span.end}
    values |= {} if ids is None else {"first": ids[0], "last": ids[1]}
    condition = ""
    if span.ours is not None:
        names = [f"ours{number}" for number in range(len(span.ours))]
        numbers = ", ".join(f":{name}" for name in names) or "NULL"
        condition = f"AND {thread} IN (SELECT t.id FROM threads AS t WHERE t.our_address IN ({numbers}))"
        values |= dict(zip(names, span.ours, strict=True))
    return tx.execute(statement.replace(OURS, condition), values).fetchall()


def _ids(tx: Transaction, table: str, column: str, span: Span) -> tuple[int, int]:
    """The first and the last that can lie in the span: ids grow with time."""
    return _first_since(tx, table, column, span.start), _first_since(tx, table, column, span.end) - 1


def _first_since(tx: Transaction, table: str, column: str, moment: int) -> int:
    """By halves: an index on the time would cost each message more than the few who ask for figures."""
    low, high = 1, int(tx.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()[0])
    while low < high:
        middle = (low + high) // 2
        found = tx.execute(f"SELECT {column} FROM {table} WHERE id >= ? ORDER BY id LIMIT 1", (middle,)).fetchone()
        if found is None or found[0] >= moment:
            high = middle
        else:
            low = middle + 1
    return low


OURS: Final = "/* of ours */"
OF_CHAT: Final = "(SELECT c.thread_id FROM conversations AS c WHERE c.id = x.conversation_id)"


def _hour(column: str) -> str:
    return f"({column} - CAST(:start AS BIGINT)) / {HOUR_MS}"


def _between(column: str) -> str:
    return f"{column} >= :start AND {column} < :end"


ACCEPTED: Final = f"""
    SELECT {_hour("m.at")} AS hour, m.outcome,
        CASE WHEN m.outcome = 'human' AND m.answered_by IS NOT NULL THEN 1 ELSE 0 END AS by_person, count(*)
    FROM messages AS m WHERE m.id BETWEEN :first AND :last AND m.direction = 'in' AND {_between("m.at")} {OURS}
    GROUP BY hour, m.outcome, by_person
"""
# The source of a reply names the last message of its turn.
REPLIED: Final = f"""
    SELECT {_hour("m.at")} AS hour, (o.settled_at - asked.at) / 100 AS tenths, count(*)
    FROM messages AS m JOIN outbox AS o ON o.message_id = m.id AND o.part = 0 AND o.state = 'sent'
    JOIN messages AS asked ON asked.id = CAST(substr(m.source, 6 + instr(substr(m.source, 6), ':')) AS BIGINT)
    WHERE m.id BETWEEN :first AND :last AND m.direction = 'out' AND m.author = 'ai' AND m.source LIKE 'turn:%'
        AND o.resend_of IS NULL AND {_between("m.at")} {OURS}
    GROUP BY hour, tenths
"""
HANDED: Final = f"""
    SELECT x.id, x.conversation_id, x.at, x.code FROM transitions AS x
    WHERE x.owner_after = 'waiting' AND x.owner_before <> 'waiting' AND {_between("x.at")} {OURS} ORDER BY x.at
"""
ENDED: Final = """
    SELECT at, owner_after FROM transitions
    WHERE conversation_id = ? AND id > ? AND owner_before = 'waiting' AND (owner_after <> 'waiting' OR
        status_after = 'closed') ORDER BY id LIMIT 1
"""
DRAFTS: Final = f"""
    SELECT {_hour("x.created_at")} AS hour, x.state, count(*) FROM drafts AS x
    WHERE x.id BETWEEN :first AND :last AND {_between("x.created_at")} {OURS} GROUP BY hour, x.state
"""
FAILED: Final = f"""
    SELECT {_hour("o.settled_at")} AS hour, o.error_code, count(*) FROM outbox AS o
    WHERE o.state = 'failed' AND {_between("o.settled_at")} {OURS} GROUP BY hour, o.error_code
"""
UNDELIVERED: Final = f"""
    SELECT {_hour("o.delivery_at")} AS hour, o.error_code, count(*) FROM outbox AS o
    WHERE {rows.UNDELIVERED} AND {_between("o.delivery_at")} {OURS} GROUP BY hour, o.error_code
"""
OPENED: Final = f"""
    SELECT {_hour("c.opened_at")} AS hour,
        CASE WHEN EXISTS (SELECT 1 FROM transitions AS n WHERE n.conversation_id = c.id
                          AND n.owner_after IN ('waiting', 'human')) THEN 0 ELSE 1 END AS alone, count(*)
    FROM conversations AS c WHERE c.id BETWEEN :first AND :last AND {_between("c.opened_at")} {OURS}
    GROUP BY hour, alone
"""
COSTS: Final = f"""
    SELECT x.day, x.model, count(*), sum(x.input_tokens), sum(x.output_tokens), coalesce(sum(x.cost), 0),
        max(x.currency),
        sum(CASE WHEN x.cost IS NULL AND x.input_tokens + x.output_tokens + x.unheard_tokens > 0 THEN 1 ELSE 0 END)
    FROM model_calls AS x WHERE {_between("x.at")} {OURS} GROUP BY x.day, x.model ORDER BY x.day, x.model
"""
MINUTES: Final = f"""
    SELECT (m.at - CAST(:start AS BIGINT)) / 60000 AS minute, count(*),
        sum(CASE WHEN m.outcome IS NULL OR m.outcome = 'failed' OR (m.outcome = 'human' AND m.answered_by IS NULL)
            THEN 1 ELSE 0 END)
    FROM messages AS m WHERE m.id BETWEEN :first AND :last AND m.direction = 'in' AND {_between("m.at")} {OURS}
    GROUP BY minute ORDER BY minute
"""
