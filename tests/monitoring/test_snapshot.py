"""What in a snapshot calls for a person, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.conversations.overview import Overview, Undelivered
from convoq.db.log_readers import LogReader, LogState
from convoq.monitoring.snapshot import AlertLimits, Snapshot, find_alerts, take
from convoq.queue.base import KindStats, Stats
from convoq.queue.opening import open_queue
from convoq.settings import Options
from tests.cli.scenes import Place, announce, bury, job

NOW = 1_000_000


def snapshot(*, kind: KindStats | None = None, **more: Any) -> Snapshot:
    """Of a place with nothing to do."""
    fields: dict[str, Any] = {"now": NOW, "location": "convoq.db", "database_bytes": 0}
    fields["log"] = LogState(bytes=0, large=False)
    stats = Stats({"greet": kind or KindStats()})
    return Snapshot(**{**fields, "accepts": True, "stats": stats, "overview": Overview(), "processes": (), **more})


def alerts(seen: Snapshot, **limits: Any) -> list[str]:
    return [str(alert) for alert in find_alerts(seen, AlertLimits(**{"roles": (), **limits}))]


def test_where_nothing_is_to_do_nothing_calls() -> None:
    assert alerts(snapshot()) == []


def test_every_role_must_have_been_seen_unless_others_are_named() -> None:
    assert [alert.role for alert in find_alerts(snapshot(), AlertLimits())] == ["serve", "schedule", "work"]
    assert alerts(snapshot(), roles=("work",)) == ["work: no process has been seen: start convoq work"]


def test_a_job_that_waits_speaks_for_the_message_behind_it() -> None:
    waiting = Overview(waiting=1, waiting_since=NOW - 90_000)

    assert alerts(snapshot(kind=KindStats(ready=1, oldest_wait=61.0), overview=waiting)) == [
        "a job has waited for 1 min (more than 1 min)"
    ]
    assert alerts(snapshot(overview=waiting)) == [
        "somebody has waited for an answer for 1 min: convoq conversations list --waiting"
    ]
    assert alerts(snapshot(overview=waiting), max_wait=90.0) == []


def test_dead_letters_and_a_full_disk_call() -> None:
    assert alerts(snapshot(kind=KindStats(dead=2), accepts=False), max_dead=1) == [
        "2 dead letters: convoq jobs list --state dead",
        "the disk is nearly full: webhooks are answered 503 until there is room",
    ]
    assert alerts(snapshot(kind=KindStats(dead=2)), max_dead=2) == []


def test_what_could_not_be_delivered_calls_with_what_how_many_and_what_to_do() -> None:
    seen = snapshot(overview=Overview(undelivered_by_code=(Undelivered("30007", 3), Undelivered("99999", 1))))
    assert alerts(seen) == [
        "3 messages not delivered in the last 24 hours (code 30007): A carrier filtered the message as unwanted."
        " Then: convoq conversations list --failed",
        "1 message not delivered in the last 24 hours (code 99999): See https://www.twilio.com/docs/api/errors/99999"
        " Then: convoq conversations list --failed",
    ]


def test_what_one_phone_does_not_take_calls_nobody() -> None:
    assert alerts(snapshot(overview=Overview(undelivered_by_code=(Undelivered("30003", 3),)))) == []


def test_who_holds_the_log_calls() -> None:
    reader = LogReader(4711, "sqlite3 convoq.db")
    assert alerts(snapshot(log=LogState(bytes=196_000_000, large=True, readers=(reader,)))) == [
        "the database's log has grown to 196.0 MB: "
        "it cannot be emptied past the open read transaction of process 4711 (sqlite3 convoq.db): "
        "end its transaction or the process; the next housekeeping empties the log"
    ]
    assert alerts(snapshot(log=LogState(bytes=196_000_000, large=True))) == []


@pytest.mark.parametrize(
    ("times", "median", "p95"), [((4.0,), 4.0, 4.0), ((1.0, 3.0), 2.0, 2.9), (tuple(range(101)), 50, 95.0)]
)
def test_reply_times_are_summed_up(times: tuple[float, ...], median: float, p95: float) -> None:
    seen = snapshot(overview=Overview(reply_times=times))

    assert (seen.reply_median, seen.reply_p95) == pytest.approx((median, p95))


def test_a_snapshot_is_of_queue_conversations_and_processes(place: Place) -> None:
    place.prepare(lambda database: bury(database, [job("dies")]))
    place.prepare(announce)

    async def taken(database: Any) -> Snapshot:
        async with open_queue(database, Options()) as opened:
            return await take(database, opened.jobs)

    seen = place.prepare(taken)

    assert seen.dead == 1
    assert [process.role for process in seen.processes] == ["schedule", "serve", "work"]
    assert seen.database_bytes > 0
    assert (seen.accepts, seen.oldest_wait, seen.longest_waiting) == (True, 0.0, 0.0)
