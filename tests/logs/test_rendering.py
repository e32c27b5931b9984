"""A record cannot be broken by what is in it."""

from __future__ import annotations

import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from convoq.logs import log, masking, rendering
from tests.logs.conftest import one, written

HOSTILE = 'a\n{"event":"forged"}\r\x1b[31mred\x07\u2028\u2029\x85\u202e\x00 end'


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


@given(st.dictionaries(st.text() | st.integers(), st.text() | st.integers() | st.booleans() | st.floats() | st.none()))
def test_json_is_what_the_library_would_write(values: dict[str, object]) -> None:
    clean = masking._clean_mapping(values, 0)
    assert rendering.render_json(None, "info", clean) == json.dumps(clean, separators=(",", ":"))


def test_no_field_passes_for_the_time_or_the_level() -> None:
    stream = written()
    log.info("a.b", timestamp="1970", level="critical", role="dev")
    record = one(stream)
    assert (record["level"], record["role"]) == ("info", "dev")
    assert not record["timestamp"].startswith("1970")
    assert list(record) == ["timestamp", "level", "event", "role"]
