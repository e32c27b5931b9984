"""The short way of a plain event leads to the very line that the processors make."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.typing import Processor

from convoq.logs import log
from convoq.logs.masking import mask
from convoq.logs.plain import PlainJson
from convoq.logs.rendering import LeadingFields, describe_exception, render_json
from tests.logs.conftest import written

KEYS = st.text() | st.sampled_from(
    ["event", "timestamp", "level", "role", "exc_info", "api_key", "job_id", "+4915112345678"]
)
VALUES = st.text() | st.integers() | st.booleans() | st.floats() | st.none() | st.lists(st.text())


class AtOneTime(LeadingFields):
    def now(self) -> str:
        return "2026-11-26T12:00:00.000000Z"


def both(event: dict[str, Any], role: str | None, *, method: str = "info") -> tuple[Any, Any]:
    """The line of the short way, and of the processors."""
    leading = AtOneTime(role)
    processors: list[Processor] = [describe_exception, mask, leading, render_json]
    long: Any = dict(event)
    for process in processors:
        long = process(None, method, long)
    return PlainJson(processors, leading, role)(None, method, dict(event)), long


@given(st.text() | st.integers(), st.dictionaries(KEYS, VALUES), st.sampled_from([None, "work", "call +4915112345678"]))
@example("job.finished", {"kind": "bench.note", "job_id": "17", "attempt": 1}, "work")
@example("a" * 65, {"b" * 65: "c" * 20_000}, None)
def test_the_short_way_writes_what_the_long_one_does(name: object, fields: dict[str, Any], role: str | None) -> None:
    short, long = both({**fields, "event": name}, role)
    assert short == long


def test_an_event_without_a_name_is_written_as_the_processors_do() -> None:
    short, long = both({"job_id": "17"}, "work")
    assert short == long


def test_a_text_in_a_subclass_of_str_is_masked() -> None:
    class Number(str):
        __slots__ = ()

    short, long = both({"event": Number("call +4915112345678"), "to": Number("+4915112345678")}, None)
    assert short == long
    assert "4915112345678" not in short


@pytest.mark.parametrize("fields", [{"job_id": "17", "attempt": 1}, {"late": True}])
def test_the_level_is_that_of_the_call_on_either_way(fields: dict[str, Any]) -> None:
    stream = written()
    log.warning("a.b", **fields)
    assert re.match(r'{"timestamp":"[^"]{27}","level":"warning","event":"a\.b"', stream.getvalue())
