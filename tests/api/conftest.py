"""Every test here fails when its requests cause a traceback, and sees what was logged."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.api.harness import ApiServer, running

Events = list[MutableMapping[str, Any]]


@pytest.fixture(autouse=True)
def events(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[Events]:
    with capture_logs() as captured, caplog.at_level(logging.DEBUG):
        yield captured
    libraries = [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]
    assert not libraries, [record.getMessage() for record in libraries]
    if "breaks_inside" not in request.fixturenames:
        assert not [event for event in captured if event.get("exc_info") or event["log_level"] == "error"]


@pytest.fixture
def breaks_inside() -> None:
    """For tests in which a part of our own breaks: exactly then a traceback belongs in the log."""


@pytest.fixture
async def api(events: Events) -> AsyncIterator[ApiServer]:
    async with running() as api:
        yield api
