"""`convoq jobs`: what is listed and shown, and that changes reach exactly the jobs that were meant."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import Any

import pytest

from convoq.db import Database
from convoq.jobs import raw_job, turn_job
from convoq.queue.sqlite.backend import SqliteQueue
from tests.cli.scenes import (
    ANA,
    Place,
    bury,
    claim_one,
    enqueue,
    fail_turn,
    inbound_job,
    job,
    put_back,
    receive,
    snooze,
)

HOSTILE = "\x1b]0;owned\x07\u202e\nconvoq: fake"


def states(place: Place) -> dict[str, str]:
    return {str(number): state for number, state in place.execute("SELECT id, state FROM jobs ORDER BY id")}


def printed_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return dict(document)


class Terminal(io.StringIO):
    """A standard stream with a person at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers at a terminal."""

    def answer(text: str) -> None:
        monkeypatch.setattr("sys.stdin", Terminal(text))
        monkeypatch.setattr("sys.stderr", Terminal())

    return answer


def test_the_list_is_newest_first_and_says_where_each_job_stands(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: bury(database, [job("dies")]))
    place.prepare(lambda database: claim_one(database, job("runs")))
    place.prepare(lambda database: enqueue(database, [job("waits"), job("sleeps", delay=3600)]))

    assert place.run("jobs", "list") == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[1], row[2]) for row in rows[1:]] == [
        *(("4", "sleeps", "scheduled"), ("3", "waits", "ready"), ("2", "runs", "running"), ("1", "dies", "dead")),
    ]
    assert rows[-1][-4:] == ["ValueError:", "no", "such", "customer"]


@pytest.mark.parametrize(
    ("chosen", "kinds"),
    [
        (["scheduled"], ["sleeps"]), (["running"], ["runs"]), (["ready"], ["waits", "behind"]), (["dead"], ["dies"]),
        (["running", "dead"], ["runs", "dies"]),
        (["ready", "scheduled", "running"], ["sleeps", "waits", "behind", "runs"]),
    ],
    ids=str,
)  # fmt: skip
def test_the_state_that_is_shown_is_the_one_to_filter_by(
    chosen: list[str], kinds: list[str], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: bury(database, [job("dies")]))
    place.prepare(lambda database: claim_one(database, job("runs", ordering_key="lane")))
    others = [job("behind", ordering_key="lane"), job("waits"), job("sleeps", delay=3600)]
    place.prepare(lambda database: enqueue(database, others))

    assert place.run("jobs", "list", *(word for state in chosen for word in ("--state", state)), "--json") == 0

    found = printed_json(capsys)["jobs"]
    assert [record["kind"] for record in found] == kinds
    assert {record["standing"] for record in found} == set(chosen)


@pytest.mark.parametrize(("since", "found"), [("2h", ["new"]), ("4d", ["new", "old"]), ("2001-01-01", ["new", "old"])])
def test_since_leaves_out_what_is_older(
    since: str, found: list[str], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: enqueue(database, [job("old")]))
    place.execute("UPDATE jobs SET enqueued_at = enqueued_at - 3 * 86400000")
    place.prepare(lambda database: enqueue(database, [job("new")]))

    assert place.run("jobs", "list", "--since", since, "--json") == 0
    assert [record["kind"] for record in printed_json(capsys)["jobs"]] == found


@pytest.mark.parametrize("since", ["yesterday", "-2h", "2", "2026-13-01", ""])
def test_a_since_that_is_no_time_is_wrong_usage(since: str, place: Place) -> None:
    assert place.run("jobs", "list", f"--since={since}") == 2


def test_a_job_that_waits_says_why(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: snooze(database, job("asks"), "the model is down"))
    assert place.run("jobs", "list") == 0
    assert "waits: the model is down" in capsys.readouterr().out
    assert place.run("jobs", "show", "1") == 0
    assert "because   the model is down" in capsys.readouterr().out
    assert place.run("jobs", "show", "1", "--json") == 0
    assert printed_json(capsys)["jobs"][0]["reason"] == "the model is down"


def test_filters_hold_together(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: bury(database, [job("a", 1), job("a", 2), job("b", 1)]))
    place.prepare(lambda database: enqueue(database, [job("a", 1)]))

    assert (
        place.run("jobs", "list", "--kind", "a", "--state", "dead", "--text", '"number": 1'.replace(" ", ""), "--json")
        == 0
    )

    assert [record["id"] for record in printed_json(capsys)["jobs"]] == ["1"]


def test_pages_follow_each_other(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: enqueue(database, [job(number=n) for n in range(5)]))

    place.run("jobs", "list", "--limit", "3", "--json")
    first = printed_json(capsys)
    place.run("jobs", "list", "--limit", "3", "--before", first["next_before"], "--json")
    second = printed_json(capsys)

    assert [record["id"] for record in first["jobs"] + second["jobs"]] == ["5", "4", "3", "2", "1"]
    assert second["next_before"] is None


def test_a_hostile_error_and_payload_reach_the_terminal_escaped(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: bury(database, [inbound_job(HOSTILE, 1)], error=f"ValueError: {HOSTILE}"))

    for arguments in (["list"], ["show", "1"], ["list", "--json"], ["show", "1", "--json"]):
        assert place.run("jobs", *arguments) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "\nconvoq: fake" not in out


def test_a_turn_shows_no_tries_because_they_are_its_messages(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: claim_one(database, turn_job(1, "turn|twilio|+1|+2")))
    place.prepare(lambda database: claim_one(database, job()))

    assert place.run("jobs", "list") == 0
    greet, turn = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert (greet[3], [word for word in turn if "/" in word]) == ("1/8", [])
    assert place.run("jobs", "show", "1", "2") == 0
    assert capsys.readouterr().out.count("tries") == 1


def test_addresses_are_masked_in_lists_and_shown_for_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: enqueue(database, [inbound_job("hi", 1)]))

    place.run("jobs", "list")
    assert ANA not in capsys.readouterr().out
    place.run("jobs", "list", "--json")
    assert ANA not in capsys.readouterr().out
    place.run("jobs", "list", "--full")
    assert ANA in capsys.readouterr().out
    place.run("jobs", "show", "1")
    assert ANA in capsys.readouterr().out


def test_raw_is_the_payload_as_stored(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: enqueue(database, [job(number=7)]))

    assert place.run("jobs", "show", "1", "--raw") == 0

    assert capsys.readouterr().out == '{"number":7}\n'


def test_on_a_terminal_raw_is_harmless(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.prepare(lambda database: enqueue(database, [raw_job("greet", {"name": "a\x7f\x9b2Jb"})]))
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)

    assert place.run("jobs", "show", "1", "--raw") == 0

    assert terminal.getvalue() == '{"name":"a\\x7f\\x9b2Jb"}\n'


def test_a_job_that_is_not_there_is_a_failure_beside_those_that_are(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: enqueue(database, [job()]))

    assert place.run("jobs", "show", "1", "99") == 1

    printed = capsys.readouterr()
    assert "Job 1: greet" in printed.out
    assert printed.err == "convoq: there is no job 99\n"


def test_an_id_that_no_job_can_have_is_too_large(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("jobs", "show", "9" * 18) == 1
    assert capsys.readouterr().err == f"convoq: there is no job {'9' * 18}\n"
    assert place.run("jobs", "show", "9" * 19) == 2
    assert f"'{'9' * 19}' is too large for a job's id" in capsys.readouterr().err
    assert place.run("jobs", "show", "9" * 5000) == 2
    assert len(capsys.readouterr().err) < 300


@pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "", "²"])
def test_an_id_that_is_no_number_is_wrong_usage(wrong: str, place: Place) -> None:
    assert place.run("jobs", "retry", "--id", wrong) == 2


@pytest.mark.parametrize("verb", ["retry", "run-now", "cancel", "discard"])
def test_a_change_of_everything_has_to_be_asked_for(
    verb: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("jobs", verb) == 2
    assert "--all" in capsys.readouterr().err


def test_without_a_terminal_a_bulk_change_needs_yes(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: bury(database, [job(), job()]))

    assert place.run("jobs", "retry", "--all") == 2
    assert "Retry 2 jobs?" in capsys.readouterr().err
    assert set(states(place).values()) == {"dead"}

    assert place.run("jobs", "retry", "--all", "--yes") == 0
    assert capsys.readouterr().out == "2 jobs retried\n"
    assert set(states(place).values()) == {"ready"}


@pytest.mark.parametrize(("answer", "code", "state"), [("y\n", 0, "ready"), ("\n", 1, "dead"), ("", 1, "dead")])
def test_a_person_is_asked_first(answer: str, code: int, state: str, place: Place, person: Any) -> None:
    place.prepare(lambda database: bury(database, [job()]))
    person(answer)

    assert place.run("jobs", "retry", "--kind", "greet") == code
    assert states(place) == {"1": state}


def test_a_dry_run_changes_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: bury(database, [job(), job()]))

    assert place.run("jobs", "discard", "--all", "--dry-run") == 0

    assert capsys.readouterr().out == "2 jobs would be discarded\n"
    assert len(states(place)) == 2


def test_without_a_state_a_bulk_retry_means_the_dead_letters(place: Place) -> None:
    place.prepare(lambda database: enqueue(database, [job(), job()]))
    assert place.run("jobs", "cancel", "1") == 0
    place.prepare(lambda database: bury(database, [job()]))

    assert place.run("jobs", "retry", "--all", "--yes") == 0
    assert states(place)["1"] == "cancelled"
    assert place.run("jobs", "retry", "--state", "cancelled", "--yes") == 0
    assert states(place)["1"] == "ready"


def test_named_jobs_are_changed_without_asking_and_the_unfit_are_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: bury(database, [job(), job()]))
    place.prepare(lambda database: enqueue(database, [job()]))

    assert place.run("jobs", "retry", "1", "3", "99") == 1

    printed = capsys.readouterr()
    assert printed.out == "1 job retried\n"
    assert printed.err.splitlines() == [
        "convoq: job 3 is ready: retry is for dead and cancelled jobs",
        "convoq: there is no job 99",
    ]
    assert states(place) == {"1": "ready", "2": "dead", "3": "ready"}


def test_a_running_job_is_not_cancelled(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: claim_one(database, job("runs")))

    assert place.run("jobs", "cancel", "1") == 1
    assert "job 1 is running" in capsys.readouterr().err
    assert states(place) == {"1": "ready"}


def test_a_bulk_change_goes_in_batches_and_reaches_each_job_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: bury(database, [job(number=n) for n in range(25)]))
    monkeypatch.setattr("convoq.queue.selecting.BATCH", 10)
    batches: list[tuple[str, ...]] = []
    retry = SqliteQueue.retry_dead

    async def spying(self: SqliteQueue, where: Any, *, limit: int = 500) -> int:
        batches.append(where.ids)
        return await retry(self, where, limit=limit)

    monkeypatch.setattr(SqliteQueue, "retry_dead", spying)

    assert place.run("jobs", "retry", "--all", "--yes") == 0

    assert capsys.readouterr().out == "25 jobs retried\n"
    assert list(map(len, batches)) == [10, 10, 5]
    # Oldest first, so that no job of a lane overtakes an earlier one.
    assert [job for batch in batches for job in batch] == [str(number) for number in range(1, 26)]


def test_a_retried_job_can_be_claimed(place: Place) -> None:
    place.prepare(lambda database: bury(database, [job()]))
    place.run("jobs", "retry", "1")

    async def claimed(database: Database) -> list[str]:
        backend = SqliteQueue(database)
        try:
            return [found.id for claim in await backend.claim(9, lease=60, worker="w") for found in claim.jobs]
        finally:
            await backend.close()

    assert place.prepare(claimed) == ["1"]


def test_a_job_that_waits_for_its_time_can_be_let_run_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: enqueue(database, [job(delay=3600.0), job(delay=3600.0), job()]))

    assert place.run("jobs", "run-now", "1") == 0
    assert capsys.readouterr().out == "1 job due now\n"
    assert place.run("jobs", "run-now", "--all", "--dry-run") == 0
    assert capsys.readouterr().out == "1 job would be due now\n"
    assert place.run("jobs", "run-now", "--all", "--yes") == 0
    assert place.run("jobs", "list", "--state", "scheduled", "--json") == 0
    assert '"jobs":[]' in capsys.readouterr().out


def test_a_job_that_is_due_cannot_be_hurried(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: enqueue(database, [job()]))

    assert place.run("jobs", "run-now", "1") == 1
    printed = capsys.readouterr()
    assert printed.out == "0 jobs due now\n"
    assert printed.err == "convoq: job 1 is ready: run-now is for jobs that wait for their time\n"


def test_a_job_that_runs_and_means_to_wait_then_can_be_hurried_by_its_id(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = place.prepare(lambda database: claim_one(database, job()))
    assert place.run("jobs", "run-now", "--all", "--dry-run") == 0
    assert place.run("jobs", "run-now", "1") == 0
    place.prepare(lambda database: put_back(database, claim, "it had looked before"))
    assert capsys.readouterr().out == "0 jobs would be due now\n1 job due now\n"
    assert place.run("jobs", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["jobs"][0]["state"] == "ready"


def test_problems_are_put_together_by_cause_and_retried_by_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for sid, request in ((1, "req_81"), (2, "req_97")):
        place.prepare(partial(receive, text="Hello", sid=sid, address=f"whatsapp:+3460000000{sid}"))
        place.prepare(partial(fail_turn, error=f"ModelError: no such key (request {request})"))
    assert place.run("jobs", "problems", "--json") == 0
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["sort"], problem["count"]) == ("dead", 2)
    assert place.run("jobs", "problems") == 0
    shown = capsys.readouterr().out
    assert "2 dead process_ai_response jobs" in shown
    assert f"Then: convoq jobs retry --cause {problem['cause']}" in shown
    assert place.run("jobs", "list", "--cause", problem["cause"], "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 2
    assert place.run("jobs", "retry", "--cause", problem["cause"], "--yes") == 0
    assert capsys.readouterr().out == "2 jobs retried\n"
    assert place.run("jobs", "problems") == 0
    assert capsys.readouterr().out == "Nothing failed, and nothing is held back.\n"
