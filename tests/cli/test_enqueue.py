"""`convoq enqueue`: what goes into the queue, and what is refused with a word on why."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from convoq.jobs import PEOPLE, UPKEEP
from convoq.settings import QueueSettings
from tests.cli.scenes import Place

HANDLERS = '[handlers]\n"greet.morning" = "mybot:greet"\n'


@pytest.fixture
def ready(place: Place) -> Place:
    place.configure(HANDLERS)
    return place


def stored(place: Place, columns: str = "kind, payload") -> list[tuple[object, ...]]:
    return place.execute(f"SELECT {columns} FROM jobs ORDER BY id")


def test_a_job_is_on_disk_and_its_id_is_printed(ready: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.run("enqueue", "greet.morning", "--payload", '{"name": "Añá"}') == 0

    assert capsys.readouterr().out == "1\n"
    assert stored(ready) == [("greet.morning", '{"name":"Añá"}')]


def test_a_duplicate_is_said_and_not_stored(ready: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert ready.run("enqueue", "greet.morning", "--dedup", "today") == 0

    assert capsys.readouterr().out == "1\nduplicate of 1\n"
    assert len(stored(ready)) == 1


def test_the_options_reach_the_job(ready: Place) -> None:
    assert ready.run("enqueue", "greet.morning", "--key", "ana", "--priority", "people", "--max-attempts", "3") == 0
    assert ready.run("enqueue", "greet.morning", "--delay", "60", "--priority", "upkeep") == 0

    assert stored(ready, "substr(lane, 1, 3), priority, max_attempts")[0] == ("ana", PEOPLE, 3)
    assert stored(ready, "priority, max_attempts")[1] == (UPKEEP, QueueSettings().max_attempts)
    ((delay,),) = ready.execute("SELECT l.due_at - j.enqueued_at FROM lanes l JOIN jobs j USING (lane) WHERE j.id = 2")
    assert delay == 60_000


def test_the_payload_may_come_from_a_file(ready: Place) -> None:
    file = ready.directory / "payload.json"
    file.write_bytes(b'\xef\xbb\xbf{"from": "file"}\n')

    assert ready.run("enqueue", "greet.morning", "--payload", f"@{file}") == 0
    assert stored(ready) == [("greet.morning", '{"from":"file"}')]


def test_the_payload_may_come_from_standard_input(ready: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}')))

    assert ready.run("enqueue", "greet.morning", "--payload", "-") == 0
    assert stored(ready) == [("greet.morning", '{"from":"stdin"}')]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("", "not JSON: Expecting value (line 1, column 1)"),
        ("{", "not JSON: Expecting property name"),
        ('{"a": 1,}', "not JSON"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": -Infinity}', "-Infinity is no JSON"),
        ('{"a": "\\ud800"}', "not valid Unicode"),
        ("[" * 100_000, "not JSON"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "more than 1 MB"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bad_payload_is_refused(payload: str, words: str, ready: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.run("enqueue", "greet.morning", f"--payload={payload}") == 2
    error = capsys.readouterr().err
    assert error.startswith("convoq: --payload: ")
    assert words in error
    assert error.count("\n") == 1
    assert stored(ready) == []


@pytest.mark.parametrize(("content", "code"), [(b"\xff", 2), (None, 1)])
def test_a_file_that_cannot_be_read_is_named(
    content: bytes | None, code: int, ready: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("payload.json").write_bytes(content)

    assert ready.run("enqueue", "greet.morning", "--payload", "@payload.json") == code
    assert "payload.json" in capsys.readouterr().err


def test_an_unknown_kind_needs_force(ready: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.run("enqueue", "greet.mornin") == 2
    assert "Did you mean 'greet.morning'?" in capsys.readouterr().err

    assert ready.run("enqueue", "greet.mornin", "--force") == 0
    assert stored(ready, "kind") == [("greet.mornin",)]


def test_a_built_in_kind_takes_only_its_own_payload(ready: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.run("enqueue", "send_message", "--payload", '{"address": 1}') == 2
    assert capsys.readouterr().err.splitlines() == [
        "convoq: the payload does not suit send_message: our_address: field required",
        "convoq: the payload does not suit send_message: address: input should be a valid string",
        "convoq: the payload does not suit send_message: body: field required",
    ]

    payload = {"our_address": "+15551230000", "address": "+15551230001", "body": "Hi"}
    assert ready.run("enqueue", "send_message", "--payload", json.dumps(payload | {"chanel": "sms"})) == 2
    assert "does not suit send_message: chanel: extra inputs are not permitted" in capsys.readouterr().err
    assert ready.run("enqueue", "send_message", "--payload", json.dumps(payload)) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--key", "a", "--delay", "5"], ["--key", "~a"], ["--key", ""], ["--key", "a\nb"], ["--dedup", ""],
        ["--dedup", " "],
        ["--dedup", "\udc80"], ["--delay", "-1"], ["--delay", "nan"], ["--delay", "inf"], ["--max-attempts", "0"],
        ["--max-attempts", "101"], ["--priority", "high"],
    ],
    ids=ascii,
)  # fmt: skip
def test_options_that_cannot_be_are_wrong_usage(arguments: list[str], ready: Place) -> None:
    assert ready.run("enqueue", "greet.morning", *arguments) == 2
    assert stored(ready) == []


def test_below_the_watermark_nothing_is_promised(ready: Place, capsys: pytest.CaptureFixture[str]) -> None:
    ready.configure(HANDLERS + "[database]\nmin_free_mb = 1000000000\n")

    assert ready.run("enqueue", "greet.morning") == 75
    assert capsys.readouterr().err == "convoq: the disk is nearly full: free some space first\n"
