"""`convoq status`: what it shows, and what makes monitoring ring."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import pytest

from convoq.monitoring.processes import Processes
from convoq.text import local_time
from tests.cli.scenes import Place, announce, bury, claim_one, enqueue, fail_turn, inbound_job, job, receive


def document(place: Place, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    place.run("status", "--json", *arguments)
    return dict(json.loads(capsys.readouterr().out))


def test_all_is_well_when_every_role_was_seen(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(announce)

    assert place.run("status", "--exit-code") == 0

    out = capsys.readouterr().out
    assert "all well" in out
    assert "\x1b" not in out


def test_the_queue_is_counted_by_kind_and_standing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: bury(database, [job("a")]))
    place.prepare(lambda database: claim_one(database, job("a")))
    place.prepare(lambda database: enqueue(database, [job("a"), job("a", delay=60), job("b")]))

    queue = document(place, capsys)["queue"]

    waits = [queue["kinds"][kind].pop("oldest_wait_seconds") for kind in ("a", "b")]
    assert queue["kinds"] == {
        "a": {"ready": 1, "scheduled": 1, "running": 1, "dead": 1},
        "b": {"ready": 1, "scheduled": 0, "running": 0, "dead": 0},
    }
    assert queue["dead"] == 1
    assert queue["oldest_wait_seconds"] == max(waits)


def test_a_message_waits_for_its_answer_from_the_webhook_on(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "taken up", sid=1))
    place.prepare(lambda database: receive(database, "answered", sid=2, address="whatsapp:+34600000002", reply="Hi"))
    place.prepare(lambda database: enqueue(database, [inbound_job("only a job", 3, address="whatsapp:+34600000003")]))

    conversations = document(place, capsys)["conversations"]

    assert conversations["waiting"] == 2
    assert conversations["waiting_since"] is not None
    assert conversations["by_status"] == {"active": 2, "idle": 0, "closed": 0}


@pytest.mark.parametrize("verb", ["cancel", "discard"])
def test_nothing_waits_any_more_for_a_job_that_an_operator_has_ended(
    verb: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(announce)
    place.prepare(lambda database: receive(database, "Hello"))
    assert document(place, capsys)["conversations"]["waiting"] == 1
    if verb == "discard":
        place.prepare(lambda database: fail_turn(database, "no such model"))

    assert place.run("jobs", verb, "2") == 0
    capsys.readouterr()

    assert document(place, capsys)["conversations"]["waiting"] == 0
    assert place.run("status", "--exit-code", "--max-wait", "0") == 0


def test_sends_are_counted_by_what_became_of_them(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for sid, change in enumerate(
        ("state = 'ambiguous'", "state = 'failed'", "delivery = 'undelivered'", "error = NULL")
    ):
        address = f"whatsapp:+3460000000{sid}"
        place.prepare(partial(receive, text="Hello", sid=sid, address=address, reply="Hi"))
        now = place.execute("SELECT max(settled_at) FROM outbox")[0][0]
        place.execute(f"UPDATE outbox SET {change}, delivery_at = ? WHERE id = (SELECT max(id) FROM outbox)", now)

    sends = document(place, capsys)["sends"]

    assert sends.pop("reply_seconds")["count"] == 2
    assert sends == {
        "ready": 0,
        "sending": 0,
        "ambiguous": 1,
        "failed_last_day": 1,
        "undelivered_last_day": 1,
        "undelivered_by_code": {},
    }


def test_a_role_that_was_never_seen_is_a_problem(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: announce(database, "serve", "schedule"))

    assert place.run("status", "--exit-code") == 1
    assert "work: no process has been seen: start convoq work" in capsys.readouterr().out
    assert place.run("status", "--exit-code", "--role", "serve", "--role", "schedule") == 0


def test_a_silent_role_is_a_problem(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(announce)
    place.execute("UPDATE processes SET seen_at = seen_at - 45000 WHERE role = 'work'")

    assert place.run("status", "--exit-code") == 1
    assert re.search(r"work: silent for (4|5)\d s", capsys.readouterr().out)


def test_a_killed_process_is_gone_at_once(place: Place, capsys: pytest.CaptureFixture[str], dead_pid: int) -> None:
    place.prepare(announce)
    place.execute("UPDATE processes SET pid = ? WHERE role = 'work'", dead_pid)

    assert place.run("status", "--exit-code") == 1

    out = capsys.readouterr().out
    assert "work: gone: it was killed or crashed: look at its log, and start it again" in out
    assert re.search(rf"work +\S+ +{dead_pid} .*gone: it was killed or crashed\n", out)


def test_one_of_two_that_was_killed_stays_in_the_list_beside_the_older_other(place: Place, dead_pid: int) -> None:
    place.prepare(announce)
    place.prepare(lambda database: Processes(database).announce("work-2", "work", "fine"))
    place.execute("UPDATE processes SET pid = ? WHERE id = 'work-2'", dead_pid)

    found = [(one.id, one.gone) for one in place.prepare(lambda db: Processes(db).seen()) if one.role == "work"]
    assert found == [("work-1", False), ("work-2", True)]
    assert place.run("status", "--exit-code") == 0


def test_a_job_that_waits_too_long_is_a_problem(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(announce)
    place.prepare(lambda database: enqueue(database, [job(ordering_key="k")]))
    place.execute("UPDATE jobs SET enqueued_at = enqueued_at - 90000")

    assert place.run("status", "--exit-code") == 1
    assert "a job has waited for 1 min (more than 1 min)" in capsys.readouterr().out
    assert place.run("status", "--exit-code", "--max-wait", "120") == 0


def test_dead_letters_are_a_problem_beyond_what_is_allowed(place: Place) -> None:
    place.prepare(announce)
    place.prepare(lambda database: bury(database, [job(), job()]))

    assert place.run("status", "--exit-code") == 1
    assert place.run("status", "--exit-code", "--max-dead", "1") == 1
    assert place.run("status", "--exit-code", "--max-dead", "2") == 0


def test_without_exit_code_problems_are_only_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("status") == 0
    assert capsys.readouterr().out.count("problem  ") == 3


def test_a_full_disk_is_a_problem(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure("[database]\nmin_free_mb = 1000000000\n")

    assert any("disk" in problem for problem in document(place, capsys)["problems"])


def test_watching_shows_it_again_until_it_is_interrupted(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = []

    async def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.sleep", sleep)

    assert place.run("status", "--watch", "0.5", "--json") == 130
    assert [json.loads(line)["ok"] for line in capsys.readouterr().out.splitlines()] == [False, False, False]
    assert rounds == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "inf"])
def test_an_interval_that_is_none_is_wrong_usage(seconds: str, place: Place) -> None:
    assert place.run("status", f"--watch={seconds}") == 2


@pytest.mark.parametrize("limit", ["--max-wait=nan", "--max-wait=-1", "--max-wait=x", "--max-dead=-1", "--max-dead=x"])
def test_a_limit_that_is_none_is_wrong_usage(limit: str, place: Place) -> None:
    assert place.run("status", limit) == 2


def test_what_rules_hold_back_is_named_and_until_when(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(announce)
    place.prepare(lambda database: receive(database, "Hello", reply="Hi"))
    later = place.execute("SELECT max(settled_at) FROM outbox")[0][0] + 3_600_000
    place.execute("INSERT INTO senders VALUES ('twilio', '+15550009999', ?, ?)", later, later)
    place.execute("UPDATE outbox SET state = 'failed', error_code = 'window', error = 'too late'")
    place.execute("INSERT INTO ai_pauses VALUES ('number:+15550009999', 0, 'Marta', 'holidays')")

    assert place.run("status") == 0

    shown = capsys.readouterr().out
    assert "the AI is paused at +15550009999: holidays" in shown
    assert "1 not sent in the last 24 hours: too late" in shown
    assert "+15550009999 sends no faster than it may" in shown
    assert local_time(later) in shown
    assert [one["rule"] for one in document(place, capsys)["held"]] == ["pause", "rate", "window"]


def test_a_loop_that_was_stopped_is_a_problem_until_somebody_resumes_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(announce)
    place.prepare(lambda database: receive(database, "Hello", reply="Hi"))
    place.execute("INSERT INTO ai_pauses VALUES ('thread:1', 0, 'loop guard', '60 replies in an hour')")

    assert place.run("status", "--exit-code") == 1

    said = "a machine seems to write to us: the AI is paused in conversation 1: 60 replies in an hour"
    assert said in capsys.readouterr().out
    place.execute("DELETE FROM ai_pauses")
    assert place.run("status", "--exit-code") == 0


def test_what_is_kept_how_long_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure("[retention]\ntexts_days = 365\n")
    place.run("status")
    assert "  kept: texts 365 days, notes for ever, audit for ever, finished jobs 7 days\n" in capsys.readouterr().out
    place.run("doctor", "--offline")
    assert "kept           texts 365 days, notes for ever" in capsys.readouterr().out


def test_an_erasure_that_came_to_no_end_is_a_problem(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.execute(
        "INSERT INTO contacts (channel, address, first_seen_at, last_seen_at, erased_at, erasing)"
        " VALUES ('twilio', 'erased:1', 1, 1, 1, 1)"
    )
    place.run("status")
    assert "1 address may not be erased wholly: run convoq contacts erase again" in capsys.readouterr().out
