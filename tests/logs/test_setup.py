"""What is logged, by convoq and by libraries, goes the way that was configured last."""

from __future__ import annotations

import io
import logging
import re
import warnings

import pytest
import structlog

from convoq.logs import configure, log
from tests.logs.conftest import Terminal, one, written

LIBRARIES = ("aiohttp.server", "openai._base_client", "twilio.http_client", "httpx")


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


def one_event(stream: io.StringIO) -> str:
    configure("info", "auto", stream=stream)
    structlog.get_logger().info("a.b")
    return stream.getvalue()


def test_auto_is_json_on_a_pipe_and_console_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert one_event(io.StringIO()).startswith("{")
    assert "\x1b[32minfo" in one_event(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in one_event(Terminal())


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


def test_configuring_twice_writes_once() -> None:
    written()
    stream = written()
    logging.getLogger("aiohttp").error("x")
    assert one(stream)["level"] == "error"
