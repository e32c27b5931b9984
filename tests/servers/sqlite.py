"""The file of a test's own database, with convoq's tables: copied, which takes a hundredth of migrating each anew."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from convoq.db import Database
from convoq.db.files import create_private
from tests.clock import ManualClock


def lay_database(path: Path) -> Path:
    """Makes it unless it is there: migrated, with not one row and no trace of a process that had it open."""
    if not path.exists():
        create_private(path)
        path.write_bytes(_migrated())
    return path


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:  # a loop may run in this one
        path = Path(folder) / "convoq.db"
        thread.submit(asyncio.run, _create(path)).result()
        return path.read_bytes()


async def _create(path: Path) -> None:
    # A clock by hand leaves no anchor: each database gets its own from the first process that opens it.
    await (await Database.open(path, clock=ManualClock())).close()
