"""Every test here gets a queue of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from convoq.db import Database
from convoq.queue.sqlite.backend import SqliteQueue
from tests.servers.sqlite import lay_database
from tests.worker.harness import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await Database.open(lay_database(tmp_path / "convoq.db")) as database:
        engine = SqliteQueue(database)
        yield House(database, engine)
        await engine.close()


@pytest.fixture
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured
