"""What the three roles cost without messages, and how much memory they take after some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.child import BenchmarkFailed
from benchmarks.figure import Bar, Column, Figure, Metrics, Outcome, Sample, Series, Setting, Size
from benchmarks.rounds import fdatasync_ms, scratch
from benchmarks.site import Role, Site, answering
from convoq.channels.twilio.webhooks import inbound_url
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import LoopbackTwilio

ROLES: Final = ("serve", "schedule", "work")
TOGETHER: Final = "together"
MEMORY_LIMITS: Final = {"serve": 70.0, "schedule": 60.0, "work": 160.0}
LONGEST_TURN: Final = 30.0
SENDER: Final = "whatsapp:+15551230001"
OUR_ADDRESS: Final = "whatsapp:+15550009999"


def idle(setting: Setting) -> Outcome:
    series = Series()
    for number in range(1, setting.size.idle_rounds + 1):
        setting.progress(f"round {number}/{setting.size.idle_rounds}: {setting.size.idle_seconds:g} s of nothing")
        with scratch(setting.directory) as directory:
            probed = fdatasync_ms(directory)
            used = asyncio.run(_cpu_while_idle(directory, setting.size))
        series.rounds.append({name: Sample({"cpu_percent": value}, probed) for name, value in used.items()})
    bar = Bar(
        text="idle, CPU of the three roles together",
        limit=1.0,
        unit="% of a core",
        values=series.values(TOGETHER, "cpu_percent"),
    )
    return Outcome(series, [Column("cpu_percent", "CPU, % of a core", 2)], [bar], {})


def memory(setting: Setting) -> Outcome:
    series = Series()
    for number in range(1, setting.size.idle_rounds + 1):
        setting.progress(f"round {number}/{setting.size.idle_rounds}: {setting.size.turns} turns")
        with scratch(setting.directory) as directory:
            probed = fdatasync_ms(directory)
            used = asyncio.run(_memory_after_turns(directory, setting.size.turns))
        series.rounds.append({name: Sample({"rss_mb": value}, probed) for name, value in used.items()})
    bars = [
        Bar(text=f"memory of `convoq {name}`", limit=limit, unit="MB", values=series.values(name, "rss_mb"))
        for name, limit in MEMORY_LIMITS.items()
    ]
    return Outcome(series, [Column("rss_mb", "RSS, MB", 1)], bars, {})


FIGURES: Final = (
    Figure(
        "idle",
        "CPU while nobody writes",
        "The three roles on one empty database. Their CPU time is what the kernel's scheduler counted, all threads.",
        idle,
    ),
    Figure(
        "memory",
        "Memory",
        "Resident memory of each role after turns that went all the way: webhook, model over HTTP, send.",
        memory,
    ),
)


async def _cpu_while_idle(directory: Path, size: Size) -> dict[str, float]:
    async with _roles(Site(directory)) as roles:
        await asyncio.sleep(size.settle_seconds)
        before = {name: role.cpu_seconds for name, role in roles.items()}
        started = time.perf_counter()
        await asyncio.sleep(size.idle_seconds)
        elapsed = time.perf_counter() - started
        used = {name: 100.0 * (role.cpu_seconds - before[name]) / elapsed for name, role in roles.items()}
    return {**used, TOGETHER: sum(used.values())}


@asynccontextmanager
async def _roles(site: Site) -> AsyncIterator[dict[str, Role]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(site.role(name)) for name in ROLES}


async def _memory_after_turns(directory: Path, turns: int) -> Metrics:
    async with LoopbackTwilio() as twilio, LoopbackModel() as model:
        site = Site(directory, answering(twilio, model))
        async with _roles(site) as roles:
            for number in range(turns):
                await _turn(twilio, site, number)
            return {name: role.rss_mb for name, role in roles.items()}


async def _turn(twilio: LoopbackTwilio, site: Site, number: int) -> None:
    answer = await twilio.deliver(inbound_url(site.public_url), from_=SENDER, to=OUR_ADDRESS, body=f"question {number}")
    if answer.status != 200:
        raise BenchmarkFailed(f"a webhook was answered {answer.status}: {answer.text.strip()}")
    async with asyncio.timeout(LONGEST_TURN):
        while len(twilio.messages) <= number:  # noqa: ASYNC110 # another process sends it
            await asyncio.sleep(0.01)
