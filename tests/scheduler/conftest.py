"""Schedulers on a progress in memory and on the one in the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.scheduler.progress import SqlProgress
from tests.scheduler.machine import Machine
from tests.servers.sqlite import lay_database


@pytest.fixture(params=["memory", "sql"])
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    if request.param == "memory":
        yield Machine()
        return
    async with await Database.open(lay_database(tmp_path / "convoq.db")) as database:
        yield Machine(SqlProgress(database))
