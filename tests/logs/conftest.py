"""A log that is written to a string, and what it holds."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from convoq.logs import configure, log


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
