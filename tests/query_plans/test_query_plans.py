"""No statement reads a table whole that grows with what people write, but for those that are meant to."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from convoq.db.migrations import known, statements
from tests.query_plans.growth import ROWS, grow
from tests.query_plans.scene import play
from tests.query_plans.statements import SQL, RecordingConnection, Scan, Seen, built, constants, scans

#: A row a process, an entry, a table, a template, a worker's start, a send of one part, an operator's act on many jobs,
#: an erasure that is under way: they don't grow with what people write. All other tables do.
SMALL = {
    *("later", "our_addresses", "senders", "templates", "queue_marks", "erasures", "bulk_acts"),
    *(
        "retention",
        "clock",
        "job_ids",
        "processes",
        "schedule_pauses",
        "schedules",
        "ai_pauses",
        "operators",
        "access_tokens",
        "sessions",
        "sign_in_links",
        "notify_targets",
        "q",
        "text_search",
    ),
    *("sqlite_master", "sqlite_sequence", "CONSTANT"),
}
#: Indexes that hold only what waits, is claimed or failed: few, and whoever reads one whole wants to know all of them.
FEW = {
    *("jobs_ready", "jobs_waiting", "lanes_claimed", "messages_waiting", "messages_failing", "outbox_pending"),
    *(
        "messages_for_person",
        "messages_failed",
        "outbox_failed",
        "outbox_undelivered",
        "model_calls_pending",
        "contacts_erasing",
    ),
    *("alarms_open", "alarms_untold", "alarms_raised", "alarm_items_of", "notifications_ready"),
}
#: What reads more than that, and why that is right.
MEANT = {
    r"SELECT enqueued_at FROM newest_job": "one row, from the end",
    r"^SELECT id, state, delivery FROM outbox ORDER BY id DESC LIMIT": "the newest hundred, from the end",
    r"FROM jobs AS j LEFT JOIN lanes .* ORDER BY j.id DESC LIMIT": "a page of an operator's list, from its end",
    r"SELECT j.id, j.kind, j.payload, .* ORDER BY j.id LIMIT": "an operator searches what to change, not at the gate",
    r"SELECT count\(\*\) FROM jobs AS j .*WHERE": "an operator counts what a search finds",
    r"ORDER BY c.last_message_at DESC, c.id DESC LIMIT": "an operator's list: a page of all, or a search in texts",
    r"ORDER BY coalesce\( CASE WHEN c.status": "a list of who waits, asked for with an owner or words",
    r"SELECT count\(\*\) FROM \(SELECT c.id FROM conversations AS c WHERE": "an operator counts what a search finds",
    r"^SELECT t.id FROM contacts AS p JOIN threads": "an operator knows a part of an address",
    r"^SELECT conversation_id FROM messages WHERE instr": "an operator searches in texts",
    r"FROM message_(texts|trigrams) WHERE": "the plan says so of every virtual table, whose index it can't see",
    r"SELECT id, message_id, .* FROM outbox ORDER BY id DESC LIMIT": "the newest 200, from the end",
    r"IN \(SELECT t.id FROM threads AS t WHERE t.our_address": "figures of one number of ours: all its threads",
    r"FROM outbox AS o JOIN messages .* ORDER BY o.id DESC LIMIT \?$": "the newest, from the end",
    r"part = 0 AND state = 'sent' ORDER BY id DESC LIMIT": "the newest 200, from the end",
    r"SELECT status, owner, count\(\*\) FROM conversations": "counts all, from an index of short words alone",
    r"SELECT m.source, m.outcome, .* WHERE t.lane = \?": "the page of convoq dev, newest first",
    r"SELECT o.message_id, o.reference, .* WHERE t.lane = \?": "the page of convoq dev, newest first",
    r"SELECT m.source, m.job_id, m.outcome, m.answered_by": "the audit of demo and trials reads everything",
    r"^SELECT message_id, reference FROM outbox ORDER BY id$": "the audit of demo and trials reads everything",
    r"SELECT o.reference FROM outbox AS o .* WHERE m.author": "the audit of demo and trials reads everything",
    r"UNION SELECT lane FROM jobs WHERE state = 'dead'": "convoq db check reads everything",
    r"SELECT count\(\*\) FROM (jobs|lanes|outbox) WHERE": "convoq db check reads everything",
    r'SELECT count\(\*\) FROM "\w+"$': "a backup counts the rows of the copy",
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Seen]]:
    """The database after the scene, and every statement that the scene executed."""
    path = tmp_path_factory.mktemp("played") / "convoq.db"
    seen: dict[str, Seen] = {}
    connect = sqlite3.connect
    recording = type("Recording", (RecordingConnection,), {"seen": seen})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *values, **options: connect(*values, factory=recording, **options))
        asyncio.run(play(path, before=lambda database: database.write(grow)))
    once = {sql for migration in known() for sql in statements(migration.sql)}  # on tables that later ones change
    return path, {
        sql: one for sql, one in seen.items() if SQL.match(sql) and "RECURSIVE" not in sql and sql not in once
    }


def test_every_statement_is_seen_in_the_scene_or_stands_whole_in_the_source(
    played: tuple[Path, dict[str, Seen]],
) -> None:
    _, seen = played
    assert [where for where, pattern in built() if not any(map(pattern.search, seen))] == []


def test_at_the_write_gate_no_table_that_grows_is_read_whole(played: tuple[Path, dict[str, Seen]]) -> None:
    path, seen = played
    found = _growing_scans(path, {sql: one for sql, one in seen.items() if one.at_gate})
    assert {sql: scan for sql, scan in found.items() if not sql.startswith("SELECT enqueued_at FROM newest_job")} == {}


def test_no_change_at_the_write_gate_costs_more_than_its_rows(played: tuple[Path, dict[str, Seen]]) -> None:
    """Also what EXPLAIN QUERY PLAN does not show: triggers and foreign keys."""
    _, seen = played
    assert sum(one.at_gate for one in seen.values()) > 40
    assert {sql: one.steps for sql, one in seen.items() if one.at_gate and one.steps > ROWS} == {}


def test_elsewhere_only_what_is_meant_to_reads_a_growing_table_whole(played: tuple[Path, dict[str, Seen]]) -> None:
    path, seen = played
    unseen = {sql: Seen(None) for sql in constants() if not any(other.startswith(sql) for other in seen)}
    found = _growing_scans(path, seen | unseen)
    assert {sql: scan for sql, scan in found.items() if not any(re.search(shape, sql) for shape in MEANT)} == {}
    assert [shape for shape in MEANT if not any(re.search(shape, sql) for sql in found)] == []


def _growing_scans(path: Path, statements: dict[str, Seen]) -> dict[str, list[Scan]]:
    """By the statement, on one line."""
    connection = sqlite3.connect(path)
    try:
        found = {" ".join(sql.split()): scans(connection, sql, one.values) for sql, one in statements.items()}
    finally:
        connection.close()
    growing = {
        sql: [one for one in read if one.table not in {None, *SMALL} and one.by_index not in FEW]
        for sql, read in found.items()
    }
    return {sql: read for sql, read in growing.items() if read}
