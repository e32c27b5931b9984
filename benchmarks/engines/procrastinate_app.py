"""What procrastinate's own worker loads: an app on PostgreSQL and a task that only takes notes."""

from __future__ import annotations

import os
from typing import Any

from procrastinate import App, PsycopgConnector

from benchmarks.engines.servers import POSTGRES_URL
from benchmarks.handlers import Drain

_drain = Drain()
app = App(connector=PsycopgConnector(conninfo=os.environ[POSTGRES_URL], max_size=16))


async def _note(payload: dict[str, Any]) -> None:
    _drain.take(payload)


app.task(name="note")(_note)
