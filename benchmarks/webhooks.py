"""Durable webhooks: one `convoq serve` against a handler that only checks the signature."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import child
from benchmarks.child import BenchmarkFailed
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.rounds import interleave
from benchmarks.site import Site
from convoq.channels.twilio.webhooks import INBOUND_PATH
from convoq.loopback.environment import free_port

CONNECTIONS: Final = 64
CONVOQ: Final = "convoq serve"
BARE: Final = "bare handler, twilio's validator"
SAME_HMAC: Final = "bare handler, convoq's check"
COLUMNS: Final = (
    Column("per_second", "webhooks/s"),
    Column("p50_ms", "p50 ms", 1),
    Column("p99_ms", "p99 ms", 1),
)
METHOD: Final = f"""
{CONNECTIONS} connections to one process, the load comes from another one. Signed 500-byte forms, each with a
MessageSid of its own, one in flight for each connection. Every webhook that convoq answered is counted in its database
afterwards.
"""


def measure(setting: Setting) -> Outcome:
    contestants = [
        Contestant(
            CONVOQ,
            "verified, checked for its shape, stored with synchronous=FULL before the 200",
            partial(_serve, setting),
        ),
        Contestant(
            BARE,
            "aiohttp, request.post(), twilio's RequestValidator, nothing stored",
            partial(_bare, "twilio", setting),
        ),
        Contestant(
            SAME_HMAC,
            "aiohttp, request.read(), parse_qsl(), convoq's signature check, nothing stored",
            partial(_bare, "convoq", setting),
        ),
    ]
    series = interleave(contestants, setting)
    bars = [
        Bar(
            text=f"durable webhooks/s, against a {bare}",
            limit=limit, unit="%", at_least=True,
            values=series.ratios("per_second", CONVOQ, bare, times=100.0),
        )
        for bare, limit in ((BARE, 75.0), (SAME_HMAC, 65.0))
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, {contestant.name: contestant.settings for contestant in contestants})


FIGURES: Final = (Figure("webhooks", f"Durable webhooks, {CONNECTIONS} connections to one process", METHOD, measure),)


def _serve(setting: Setting, directory: Path) -> Metrics:
    return asyncio.run(_load_on_serve(setting, directory))


async def _load_on_serve(setting: Setting, directory: Path) -> Metrics:
    site = Site(directory)
    async with site.role("serve"):
        metrics = _load(site.port, site.public_url + INBOUND_PATH, setting)
    with closing(sqlite3.connect(site.database)) as database:
        stored = database.execute("SELECT count(*) FROM jobs").fetchone()[0]
    if stored != metrics["answered"]:
        raise BenchmarkFailed(f"{metrics['answered']:.0f} webhooks were answered 2xx, {stored} are stored")
    return metrics


def _bare(check: str, setting: Setting, _directory: Path) -> Metrics:
    port = free_port()
    url = f"http://127.0.0.1:{port}{INBOUND_PATH}"
    with child.beside("bare_handler:serve", port=port, url=url, check=check) as server:
        metrics = _load(port, url, setting)
        server.stop()
    return metrics


def _load(port: int, url: str, setting: Setting) -> Metrics:
    metrics: Metrics = child.run(
        "load:post", port=port, url=url, connections=CONNECTIONS, seconds=setting.size.webhook_seconds
    )
    if metrics["refused"]:
        raise BenchmarkFailed(f"{metrics['refused']:.0f} webhooks were refused")
    return metrics
