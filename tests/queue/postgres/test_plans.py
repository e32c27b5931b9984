"""Plans are made once a connection, perhaps while all tables are empty: they must be good when those have grown."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from convoq.db.postgres.migrations import migrate
from convoq.db.postgres.transaction import adapters
from convoq.queue.postgres import lanes
from convoq.queue.postgres.calls import AckCall
from tests.queue.postgres.steps import Session, enqueue_by_hand

NOW = 1_760_000_000_000
GROWN = 5_000  #: jobs that are ready, and as many that are done
MOST_ROWS = 60  #: that one call reads, of one table

# Straight into the tables, and without statistics.
GROW = f"""
    INSERT INTO lanes (lane, priority, due_at) SELECT 'ready|' || n, 2, {NOW} FROM generate_series(1, {GROWN}) AS n;
    INSERT INTO jobs (id, lane, lane_id, kind, payload, priority, max_attempts, enqueued_at)
    SELECT nextval('job_ids'), lane, id, 'reply', '{{}}', 2, 5, {NOW} FROM lanes WHERE lane LIKE 'ready|%';
    INSERT INTO jobs (id, lane, lane_id, kind, payload, priority, max_attempts, enqueued_at, state, finished_at)
    SELECT nextval('job_ids'), 'done|' || n, n, 'reply', '{{}}', 2, 5, {NOW}, 'done', {NOW}
    FROM generate_series(1, {GROWN}) AS n;
    INSERT INTO dedup SELECT gen_random_uuid(), n, {NOW} FROM generate_series(1, {GROWN}) AS n
"""
READ = """
    SELECT relname, seq_scan, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
    WHERE relname IN ('jobs', 'lanes', 'dedup')
"""


class Costs:
    """What the calls have read that were dear."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.dear: list[tuple[str, str, int, int]] = []

    @contextmanager
    def of(self, verb: str) -> Iterator[None]:
        with self._session.transaction():
            before = self._read()
            yield
            for table, (scans, rows) in self._read().items():
                scanned, read = (now - then for now, then in zip((scans, rows), before[table], strict=True))
                if scanned or read > MOST_ROWS:
                    self.dear.append((verb, table, scanned, read))

    def _read(self) -> dict[str, tuple[int, int]]:
        # Those of earlier transactions may be among them.
        return {table: (scans, rows) for table, scans, rows in self._session.execute(READ)}


def life(session: Session, costs: Costs) -> None:
    """Every verb once."""

    def ask(verb: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with costs.of(verb):
            return session.execute(sql, values).fetchall()

    for keys, also in (
        (("a", "b", "a"), {"digest": uuid.uuid4()}),
        (("c", "d", "a"), {}),
        (("e",), {"waiting_key": "w"}),
    ):
        with costs.of(f"enqueue {also}"):
            enqueue_by_hand(session, NOW, *keys, **also)
    claims = ask("claim", lanes.CLAIM, NOW, 60_000, "w", True, 4, 4, 4, None, ["reply"])
    held = [(lane, receipt, job_id) for lane, receipt, _, _, _, job_id, *_ in claims]
    [acked, advanced, nacked, ended] = held[:4]
    ask("extend", lanes.EXTEND, NOW, 60_000, [lane for lane, *_ in held], [receipt for _, receipt, _ in held])
    ask("ack", AckCall.sql, NOW, [acked[0]], [acked[1]], [acked[2]], [acked[2]])
    ask("advance", lanes.ADVANCE, NOW, *advanced[:2], 2, [advanced[2]], False, ["reply"])
    jobs = [nacked[2]]
    ask("nack", lanes.NACK, NOW, *nacked[:2], 9000, jobs, jobs, jobs, "no", "why", f"~aside|{nacked[0]}", True)
    ask("end", "SELECT queue_end(%s, %s, %s, %s, 'dead', 'no', false, false)", NOW, *ended[:2], [ended[2]])
    ask("join", "SELECT queue_join(%s, 'a', true, 'turn', '{}', 1::smallint, 0::bigint, 5, NULL, NULL)", NOW)
    ask("kick", "SELECT queue_kick(%s, ARRAY['a'])", NOW)
    ask("run now", "SELECT queue_run_now(%s, %s)", NOW, jobs)
    ask("hold", "SELECT queue_hold_lanes_of(%s)", jobs)
    ask("cancel", "SELECT queue_cancel(%s, %s)", NOW, jobs)
    ask("retry", "SELECT queue_retry(%s, %s)", NOW, jobs)
    ask("dead", lanes.DEAD_WORKERS)
    ask("recover", lanes.RECOVER, NOW, ["w"])
    ask("next due", lanes.NEXT_DUE, NOW, [0, 1, 2, 3])
    ask("first id", "SELECT queue_first_id(%s)", NOW)
    ask("prune", lanes.PRUNE, NOW, 1000, 2)


@pytest.fixture
def session(postgres_url: str) -> Iterator[Session]:
    """On tables that were never filled: what emptied ones have left is counted, too, and changes the plans."""
    with psycopg.connect(postgres_url, autocommit=True, context=adapters()) as session:
        migrate(session)
        yield session


def few(session: Session) -> None:
    """The plans are made on empty tables."""
    for _ in range(3):
        life(session, Costs(session))
    session.execute(GROW)


def many(session: Session) -> None:
    """And on full ones, of which the server knows nothing yet."""
    session.execute(GROW)


def known(session: Session) -> None:
    session.execute(GROW)
    session.execute("ANALYZE")


@pytest.mark.parametrize("grow", [few, many, known])
def test_a_call_reads_little_of_large_tables_whenever_its_plan_was_made(
    session: Session, grow: Callable[[Session], None]
) -> None:
    grow(session)
    costs = Costs(session)
    life(session, costs)
    assert costs.dear == []
