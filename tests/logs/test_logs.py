"""A record cannot be broken by what is in it, and holds neither secrets nor phone numbers."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from convoq.logs import configure, log, looks_secret, masking, rendering

HOSTILE = 'a\n{"event":"forged"}\r\x1b[31mred\x07\u2028\u2029\x85\u202e\x00 end'
LIBRARIES = ("aiohttp.server", "openai._base_client", "twilio.http_client", "httpx")


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    log.follow()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def one(stream: io.StringIO) -> dict[str, Any]:
    [line] = stream.getvalue().splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def written(format: str = "json", level: str = "info") -> io.StringIO:  # noqa: A002  # the setting's own name
    stream = io.StringIO()
    # pytest listens there too, and trips over what a library logs wrongly.
    logging.getLogger().handlers.clear()
    configure(level, format, "work", stream=stream)
    return stream


def test_an_event_is_one_json_line_with_time_level_and_role() -> None:
    stream = written()
    structlog.get_logger().info("job.enqueued", job_id="7", attempt=1, late=False)
    record = one(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record.pop("timestamp"))
    assert record == {
        "level": "info",
        "event": "job.enqueued",
        "role": "work",
        "job_id": "7",
        "attempt": 1,
        "late": False,
    }


def test_the_context_is_merged() -> None:
    stream = written()
    with structlog.contextvars.bound_contextvars(message_sid="SM1"):
        structlog.get_logger().info("job.enqueued")
    assert one(stream)["message_sid"] == "SM1"


def test_the_level_is_the_least_that_is_written() -> None:
    stream = written(level="warning")
    log = structlog.get_logger()
    log.info("a.b")
    log.warning("c.d")
    assert one(stream)["event"] == "c.d"


def test_auto_is_json_on_a_pipe_and_console_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert one_event(io.StringIO()).startswith("{")
    assert "\x1b[32minfo" in one_event(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in one_event(Terminal())


def one_event(stream: io.StringIO) -> str:
    configure("info", "auto", stream=stream)
    structlog.get_logger().info("a.b")
    return stream.getvalue()


@pytest.mark.parametrize("format_", ["json", "console"])
def test_hostile_text_stays_within_its_line(format_: str) -> None:
    stream = written(format_)
    structlog.get_logger().info(HOSTILE, **{HOSTILE: HOSTILE, "nested": [{HOSTILE: HOSTILE}], "bytes": b"\x1b\n"})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert len(text.splitlines()) == 1


def test_hostile_text_of_an_exception_cannot_pass_for_an_event_on_the_console() -> None:
    stream = written("console")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("job.failed")
    first, *rest = stream.getvalue().split("\n")[:-1]
    assert "job.failed" in first
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert any("Traceback" in line for line in rest)


@given(st.text(), st.recursive(st.none() | st.text() | st.floats() | st.integers() | st.binary(), st.lists))
def test_whatever_is_logged_is_one_line_that_json_reads(text: str, value: object) -> None:
    stream = written()
    structlog.get_logger().info("a.b", **{"x" + text: value})
    [line] = stream.getvalue().splitlines()
    json.loads(line, parse_constant=pytest.fail)


def test_an_exception_is_one_field_without_local_variables() -> None:
    stream = written()
    canary = "-".join(("canary", "7f3a9c"))
    try:
        raise KeyError(len(canary))
    except KeyError:
        structlog.get_logger().exception("job.failed")
    record = one(stream)
    assert record["exception"]["type"] == "KeyError"
    assert record["exception"]["message"] == "13"
    assert "Traceback" in record["exception"]["traceback"]
    assert canary not in json.dumps(record)


def test_exc_info_may_be_the_exception_itself_or_nothing() -> None:
    stream = written()
    structlog.get_logger().error("job.failed", exc_info=OSError("x"))
    assert one(stream)["exception"]["type"] == "OSError"
    stream = written()
    structlog.get_logger().error("job.failed", exc_info=True)
    assert "exception" not in one(stream)


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_what_json_cannot_hold_is_still_logged() -> None:
    stream = written()
    loop: list[object] = []
    loop.append(loop)
    structlog.get_logger().info("a.b", mute=Mute(), loop=loop, nan=float("nan"), keys={(1, 2): 3}, many=set(range(500)))
    record = one(stream)
    assert record["mute"] == "<Mute that fails to say what it is: RuntimeError>"
    assert record["nan"] == "nan"
    assert record["keys"] == {"(1, 2)": 3}
    assert len(record["many"]) == 100


def test_a_long_text_is_cut() -> None:
    stream = written()
    structlog.get_logger().info("a.b", text="x" * 100_000)
    assert one(stream)["text"].endswith("... (83616 more characters)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no +15551230001.", "no +1555***0001."),
        ("twilio|whatsapp:+14155238886|whatsapp:+15551230001", "twilio|whatsapp:+1415***8886|whatsapp:+1555***0001"),
        ("To=whatsapp%3A%2B15551230001&x=1", "To=whatsapp%3A%2B15***0001&x=1"),
        ("call +1 (555) 123-0001 now", "call +1 (5***0001 now"),
        ("Authorization: Bearer abcdef123456", "Authorization: ***"),
        ("Incorrect API key: sk-proj-abc_123", "Incorrect API key: ***"),
        ("at 1763800000000 in 7 +02:00", "at 1763800000000 in 7 +02:00"),
        ("SM0123456789abcdef0123456789abcdef", "SM0123456789abcdef0123456789abcdef"),
    ],
)
def test_addresses_and_bearers_are_masked_wherever_they_stand(text: str, expected: str) -> None:
    stream = written()
    structlog.get_logger().info("a.b", text=text, nested={"list": [text]})
    record = one(stream)
    assert record["text"] == expected
    assert record["nested"]["list"] == [expected]


def test_phone_numbers_in_an_exception_are_masked() -> None:
    stream = written()
    structlog.get_logger().error("a.b", exc_info=ValueError("no such person: whatsapp:+15551230001"))
    assert "+15551230001" not in stream.getvalue()


@given(st.dictionaries(st.text() | st.integers(), st.text() | st.integers() | st.booleans() | st.floats() | st.none()))
def test_json_is_what_the_library_would_write(values: dict[str, object]) -> None:
    clean = masking._clean_mapping(values, 0)
    assert rendering.render_json(None, "info", clean) == json.dumps(clean, separators=(",", ":"))


def test_a_key_is_judged_anew_where_it_differs_only_in_case() -> None:
    stream = written()
    for key in ("passwort", "password", "PassWord", "passw0rd", "paſſword"):
        log.info("a.b", **{key: "canary"})
    shown = [list(json.loads(line))[-1] for line in stream.getvalue().splitlines()]
    assert shown == ["passwort", "role", "role", "passw0rd", "role"]


SECRET_KEYS = [
    "auth_token",
    "AUTHTOKEN",
    "openai_api_key",
    "password",
    "a_secret",
    "authorization",
    "X-Twilio-Signature",
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_what_has_a_secrets_name_is_dropped(key: str) -> None:
    stream = written()
    structlog.get_logger().info("a.b", **{key: "canary", "nested": {key: ["canary"]}})
    assert looks_secret(key)
    assert "canary" not in stream.getvalue()
    assert one(stream)["nested"] == {}


@pytest.mark.parametrize("key", ["input_tokens", "api_key_sid", "ordering_key", "message_sid"])
def test_what_only_sounds_like_a_secret_stays(key: str) -> None:
    assert not looks_secret(key)


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_are_heard_from_warnings_on(name: str) -> None:
    stream = written(level="debug")
    logger = logging.getLogger(name)
    logger.info("GET https://api.example.com with the whole body")
    logger.warning("slow: %s", "whatsapp:+15551230001\n")
    record = one(stream)
    assert (record["level"], record["event"], record["logger"]) == ("warning", "library.logged", name)
    assert record["message"] == "slow: whatsapp:+1555***0001\n"


def test_a_library_that_turns_its_own_level_up_stays_unheard() -> None:
    stream = written(level="debug")
    logging.getLogger("openai").setLevel(logging.DEBUG)
    logging.getLogger("openai").debug("Request options: everything")
    assert stream.getvalue() == ""


def test_a_librarys_exception_and_wrong_format_are_logged() -> None:
    stream = written()
    logging.getLogger("asyncio").error("%d", "x", exc_info=OSError("gone"))
    record = one(stream)
    assert (record["message"], record["exception"]["type"]) == ("%d", "OSError")


def test_warnings_of_python_become_events() -> None:
    stream = written()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert one(stream)["logger"] == "py.warnings"


def test_a_modules_logger_follows_every_configuration() -> None:
    first = written()
    log.debug("a.b")
    log.info("c.d")
    second = written(level="debug")
    log.debug("e.f")
    assert [one(first)["event"], one(second)["event"]] == ["c.d", "e.f"]


def test_a_modules_logger_can_be_captured() -> None:
    stream = written()
    with structlog.testing.capture_logs() as captured:
        log.info("a.b", x=1)
    log.info("c.d")
    assert captured == [{"event": "a.b", "x": 1, "log_level": "info"}]
    assert one(stream)["event"] == "c.d"


def test_no_field_passes_for_the_time_or_the_level() -> None:
    stream = written()
    log.info("a.b", timestamp="1970", level="critical", role="dev")
    record = one(stream)
    assert (record["level"], record["role"]) == ("info", "dev")
    assert not record["timestamp"].startswith("1970")
    assert list(record) == ["timestamp", "level", "event", "role"]


def test_configuring_twice_writes_once() -> None:
    written()
    stream = written()
    logging.getLogger("aiohttp").error("x")
    assert one(stream)["level"] == "error"


def test_the_journal_gets_a_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryFile("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure("info", "json", stream=stream)
        structlog.get_logger().info("a.b")
        structlog.get_logger().warning("c.d")
        structlog.get_logger().error("e.f", exc_info=OSError())
        configure("info", "console", stream=stream)
        structlog.get_logger().error("e.f", exc_info=OSError("x"))
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines[:3]] == ["<6>", "<4>", "<3>"]
    assert len(lines) > 4
    assert all(line.startswith("<3>") for line in lines[3:])


def test_a_file_beside_the_journal_gets_no_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with tempfile.TemporaryFile("w+") as stream:
        configure("info", "json", stream=stream)
        structlog.get_logger().info("a.b")
        stream.seek(0)
        assert stream.read().startswith("{")


def test_a_log_that_cannot_be_written_harms_nobody() -> None:
    stream = written()
    stream.close()
    structlog.get_logger().info("a.b")


def test_a_closed_file_is_not_written_to_by_its_number(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w")
    configure("info", "json", stream=stream)
    number = stream.fileno()
    stream.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == number
    log.info("a.b")
    assert os.fstat(other).st_size == 0
    os.close(other)


def test_each_record_is_out_when_its_event_returns(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        configure("info", "json", stream=stream)
        log.info("a.b")
        assert (tmp_path / "log").read_text().endswith("}\n")


def test_text_that_the_stream_cannot_encode_is_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        configure("info", "console", stream=stream)
        log.info("a.b", text="héé")
        assert "text=h\\xe9\\xe9" in (tmp_path / "log").read_text()


def test_a_stream_that_does_not_block_loses_whole_records_only() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as pipe, open(writer, "w") as stream:  # noqa: PTH123  # descriptors have no path
        configure("info", "json", stream=stream)
        sizes = [100, 15_000, 3_000, 1]
        for number in range(60):
            log.info("a.b", number=number, text="x" * sizes[number % 4])
        os.set_blocking(reader, False)
        first = pipe.read()
        for number in range(60, 70):
            log.info("a.b", number=number)
        second = pipe.read()
    assert len(first) > 50_000
    lines = (first + second).split(b"\n")[:-1]
    broken = [line for line in lines if not line.endswith(b"}")]
    assert len(broken) <= 1
    whole = [json.loads(line)["number"] for line in lines if line not in broken]
    assert whole[-10:] == list(range(60, 70))
    assert whole == sorted(set(whole))


def test_a_slow_reader_gets_everything_that_he_reads_in_time() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as pipe, open(writer, "w") as stream:  # noqa: PTH123  # descriptors have no path
        configure("info", "json", stream=stream)
        with ThreadPoolExecutor(1) as pool:
            lines = pool.submit(lambda: [json.loads(pipe.readline())["number"] for _ in range(100)])
            for number in range(100):
                log.info("a.b", number=number, text="x" * 15_000)
            assert lines.result() == list(range(100))


def test_events_go_to_standard_error_even_when_nobody_reads_it() -> None:
    code = "import structlog; from convoq.logs import configure; configure(); log = structlog.get_logger();"
    run = subprocess.run([sys.executable, "-c", code + "log.info('a.b')"], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert json.loads(run.stderr)["event"] == "a.b"
    read, write = os.pipe()
    os.close(read)
    child = [sys.executable, "-c", code + "[log.info('a.b') for _ in range(9)]; print('alive')"]
    assert subprocess.run(child, stdout=subprocess.PIPE, stderr=write, check=False).stdout == b"alive\n"
    os.close(write)
