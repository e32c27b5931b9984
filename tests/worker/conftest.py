"""Every test here gets a queue of its own, and workers that look after it often."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from convoq import worker as worker_module
from convoq.db import Database
from convoq.queue.sqlite.backend import SqliteQueue
from tests.worker.harness import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await Database.open(tmp_path / "convoq.db") as database:
        engine = SqliteQueue(database)
        yield House(database, engine)
        await engine.close()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases, dead workers and stuck handlers are looked at often, a failing database too."""
    monkeypatch.setattr(worker_module, "CARE_INTERVAL", 0.02)
    monkeypatch.setattr(worker_module, "UNAVAILABLE_PAUSE", 0.1)


@pytest.fixture
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured
