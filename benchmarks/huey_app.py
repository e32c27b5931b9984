"""What huey's own consumer loads: a durable huey on SQLite and a task that only takes notes."""

from __future__ import annotations

import os
import threading
from typing import Any

from huey import SqliteHuey

from benchmarks.handlers import Drain

DATABASE = "BENCHMARK_HUEY_DATABASE"

_drain = Drain()
_one_at_a_time = threading.Lock()  # its tasks run in threads


def _note(payload: dict[str, Any]) -> None:
    with _one_at_a_time:
        _drain.take(payload)


huey = SqliteHuey(filename=os.environ[DATABASE], fsync=True, results=False)
note = huey.task()(_note)
