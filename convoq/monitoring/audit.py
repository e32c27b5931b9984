"""Whether the database file is sound, and whether everything in it that waits can still be reached."""

from __future__ import annotations

import sqlite3

from convoq.text import counted

MOST = 20  # findings of one kind that are worth reading


def examine(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, a line each; empty when nothing is. Reads every page: minutes for a file of gigabytes."""
    damage = [row[0] for row in connection.execute(f"PRAGMA integrity_check({MOST})") if row[0] != "ok"]
    if damage:
        advice = "restore a backup, or save what can be read with sqlite3 .recover"
        return [*(" ".join(line.split()) for line in damage), advice]
    return [*_broken_references(connection), *_stuck(connection)]


def first_damage(connection: sqlite3.Connection) -> str | None:
    """The first damage that a quick look at each page finds: seconds for a file of a gigabyte."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return None if verdict == "ok" else " ".join(str(verdict).split())


def _broken_references(connection: sqlite3.Connection) -> list[str]:
    broken = connection.execute("PRAGMA foreign_key_check").fetchmany(MOST)
    return [f"row {rowid} of {table} refers to a row of {parent} that is gone" for table, rowid, parent, _ in broken]


def _stuck(connection: sqlite3.Connection) -> list[str]:
    findings = []
    for query, noun, words in INVARIANTS:
        (number,) = connection.execute(query).fetchone()
        if number:
            findings.append(f"{counted(number, noun)} {words}")
    return findings


INVARIANTS = (
    (
        """SELECT count(*) FROM jobs AS j WHERE state = 'ready'
           AND NOT EXISTS (SELECT 1 FROM lanes AS l WHERE l.id = j.lane_id AND l.lane = j.lane)""",
        *("ready job", "without a lane: no worker will ever see it; cancel and retry it (convoq jobs cancel, retry)"),
    ),
    (
        "SELECT count(*) FROM jobs WHERE state <> 'ready' AND finished_at IS NULL",
        *("finished job", "without the time of its end: it will never be pruned; discard it (convoq jobs discard)"),
    ),
    (
        "SELECT count(*) FROM lanes WHERE (receipt IS NULL) <> (worker IS NULL)",
        *("lane", "half claimed: it has a receipt or a worker, but not both"),
    ),
    (
        """SELECT count(*) FROM conversations AS c JOIN messages AS m ON m.conversation_id = c.id
           WHERE c.status <> 'closed' AND m.id > c.answered_through AND m.direction = 'in' AND m.outcome IS NULL
           AND NOT EXISTS (SELECT 1 FROM lanes AS l JOIN jobs AS j ON j.lane_id = l.id
                           WHERE l.lane = c.lane AND j.state = 'ready')
           AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.state = 'dead' AND j.lane = c.lane)""",
        *("message", "of a person waits for an answer that no job will write"),
    ),
    (
        """SELECT count(*) FROM outbox AS o JOIN conversations AS c ON c.id = o.conversation_id
           WHERE o.state IN ('ready', 'sending', 'ambiguous')
           AND NOT EXISTS (SELECT 1 FROM lanes AS l JOIN jobs AS j ON j.lane_id = l.id
                           WHERE l.lane = c.lane AND j.state = 'ready')
           AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.state = 'dead' AND j.lane = c.lane)""",
        *("part", "of a reply waits to be sent and no job will send it"),
    ),
    (
        "SELECT count(*) FROM outbox WHERE state = 'sent' AND provider_id IS NULL",
        *("part", "of a reply counts as sent without the provider's id"),
    ),
)
