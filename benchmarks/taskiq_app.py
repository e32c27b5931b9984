"""What taskiq's own worker loads: a broker on redis streams and a task that only takes notes."""

from __future__ import annotations

import os
from typing import Any

from taskiq_redis import RedisStreamBroker

from benchmarks.handlers import Drain

REDIS_URL = "BENCHMARK_REDIS_URL"

_drain = Drain()


async def _note(payload: dict[str, Any]) -> None:
    _drain.take(payload)


# From the stream's beginning: it is filled before the worker comes.
broker = RedisStreamBroker(os.environ[REDIS_URL], consumer_id="0")
note = broker.register_task(_note, task_name="note")
