"""Turns: from a person's webhook to the request that sends the answer, one at a time and as many as a worker can."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks import talks
from benchmarks.child import BenchmarkFailed
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting, Size
from benchmarks.handlers import NOTES
from benchmarks.rounds import interleave
from benchmarks.site import Role, Site, answering
from benchmarks.stats import latencies
from convoq import connect
from convoq.channels.twilio.webhooks import inbound_url
from convoq.loopback.faults import ModelFault
from convoq.loopback.messages import Event, TwilioMessage
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import LoopbackTwilio

T = TypeVar("T")
Tables = Mapping[str, Mapping[str, Any]]

LONGEST_RUN: Final = 300.0
ANSWER: Final = "Yes, until eight tonight. Shall I keep a table for you?"
CPU: Final = Column("cpu_ms", "worker CPU ms a turn", 1)

LINES: Final = {"an empty history": 0, "20 lines": 20, "100 lines": 100}
LONGEST_P50_MS: Final = {"an empty history": 9.0, "100 lines": 11.0}
LONGEST_P99_MS: Final = 25.0
PAUSE: Final = (0.03, 0.07)  #: seconds between two people: 20 a second
WARM_UP: Final = 10
LATENCY: Final = """
A signed webhook to `convoq serve`, a turn by `convoq work`, a model over HTTP that answers at once, and the request to
Twilio: the time from the webhook's start until that request is there. No quiet window. 20 people a second write, each
once and in a conversation of so many lines, whether or not those before have their answers. No delivery statuses.
"""

CONCURRENCY: Final = {"concurrency 8": (8, 160.0), "concurrency 64": (64, 220.0)}
LINES_OF_RATE: Final = 20
RATE: Final = f"""
As many people as write once each, in conversations of {LINES_OF_RATE} lines. All webhooks are taken in first; then
`convoq serve` ends and one `convoq work` starts. The clock runs from when it is ready until the last request to Twilio.
"""

WATCH: Final = "bench.watch"
IN_FLIGHT: Final = 200
FEWEST_OF_POSSIBLE: Final = 39 / 40
LONGEST_LAG_MS: Final = 15.0
SLOW: Final = f"""
As the figure before, with {IN_FLIGHT} turns at once and a model that takes some seconds for each answer, at random up
to a fifth less or more. The clock runs from when the first answer is asked for. The loop's lag is how late the worker's
event loop comes back to a job of the user's own that wants to be woken each 5 ms, once the first answers are there.
"""


class World:
    """A site, its fake Twilio and its fake model; notes when each person's answer is sent."""

    def __init__(self, site: Site, twilio: LoopbackTwilio, model: LoopbackModel) -> None:
        self.site = site
        self.model = model
        self.began_at: dict[str, float] = {}
        self.sent_at: dict[str, float] = {}
        self._twilio = twilio
        self._all_sent = asyncio.Event()
        self._awaited = 0
        twilio.listen(self._hear)

    async def write(self, person: str) -> None:
        """Returns when the webhook is answered."""
        self.began_at[person] = time.perf_counter()
        url = inbound_url(self.site.public_url)
        answer = await self._twilio.deliver(url, from_=person, to=talks.OUR_ADDRESS, body="Are you open today?")
        if answer.status != 200:
            raise BenchmarkFailed(f"a webhook was answered {answer.status}: {answer.text.strip()}")

    async def answered(self, count: int) -> None:
        """Returns once so many people have their answer."""
        self._awaited = count
        if len(self.sent_at) < count:
            self._all_sent.clear()
            await asyncio.wait_for(self._all_sent.wait(), LONGEST_RUN)
        if len(self._twilio.messages) != len(self.sent_at):
            raise BenchmarkFailed("somebody was answered twice")

    def _hear(self, event: Event, message: TwilioMessage) -> None:
        if event == "message":
            self.sent_at[message.to] = time.perf_counter()
            if len(self.sent_at) >= self._awaited:
                self._all_sent.set()


@asynccontextmanager
async def _world(
    directory: Path, people: Sequence[str], lines: int, **tables: Mapping[str, Any]
) -> AsyncIterator[World]:
    async with LoopbackTwilio() as twilio, LoopbackModel(lambda _: ANSWER) as model:
        twilio.delivery = ()
        site = Site(directory, answering(twilio, model) | tables)
        if people:
            await talks.create(site.database, people, lines)
        yield World(site, twilio, model)


# --- One after the other


def latency(setting: Setting) -> Outcome:
    contestants = [
        Contestant(name, f"{lines} lines before the message", partial(_run, one_by_one, setting.size, lines))
        for name, lines in LINES.items()
    ]
    series = interleave(contestants, setting)
    bars = [
        Bar(text=f"a turn with {name}, p50", limit=limit, unit="ms", values=series.values(name, "p50_ms"))
        for name, limit in LONGEST_P50_MS.items()
    ]
    bars += [
        Bar(text=f"a turn with {name}, p99", limit=LONGEST_P99_MS, unit="ms", values=series.values(name, "p99_ms"))
        for name in LINES
    ]
    columns = [Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2), CPU]
    return Outcome(series, columns, bars, {one.name: one.settings for one in contestants})


async def one_by_one(size: Size, lines: int, directory: Path, tables: Tables | None = None) -> Metrics:
    """The time of a turn, and a worker's CPU for it; in the database of the directory, if there is one.

    With `tables`, further ones of convoq.toml, people write for the first time.
    """
    people = talks.people(WARM_UP + size.timed_turns)
    chance = random.Random(7)
    async with _world(directory, people if tables is None else [], lines, **(tables or {})) as world:
        async with world.site.role("serve"), world.site.role("work") as worker:
            for number, person in enumerate(people[:WARM_UP], 1):
                await world.write(person)
                await world.answered(number)
            used, writing = worker.cpu_seconds, []
            for person in people[WARM_UP:]:
                writing.append(asyncio.create_task(world.write(person)))
                await asyncio.sleep(chance.uniform(*PAUSE))
            await asyncio.gather(*writing)
            await world.answered(len(people))
            used = worker.cpu_seconds - used
        took = [world.sent_at[person] - world.began_at[person] for person in people[WARM_UP:]]
    return latencies(took) | {"cpu_ms": used / size.timed_turns * 1000}


# --- As many as a worker can


def rate(setting: Setting) -> Outcome:
    contestants = [
        Contestant(name, f"`convoq work --concurrency {slots}`", partial(_run, _rate, setting.size, slots))
        for name, (slots, _) in CONCURRENCY.items()
    ]
    series = interleave(contestants, setting)
    bars = [
        Bar(
            text=f"turns/s of one worker, {name}",
            limit=limit, unit="/s", at_least=True, values=series.values(name, "per_second"),
        )
        for name, (_, limit) in CONCURRENCY.items()
    ]  # fmt: skip
    columns = [Column("per_second", "turns/s"), CPU]
    return Outcome(series, columns, bars, {one.name: one.settings for one in contestants})


async def _rate(size: Size, slots: int, directory: Path) -> Metrics:
    people = talks.people(size.drained_turns)
    async with _world(directory, people, LINES_OF_RATE) as world:
        await _take_in(world, people)
        async with world.site.role("work", "--concurrency", str(slots)) as worker:
            metrics = await _drained(world, worker, len(people))
    return metrics


async def _take_in(world: World, people: Sequence[str]) -> None:
    async with world.site.role("serve"):
        for first in range(0, len(people), 64):
            await asyncio.gather(*map(world.write, people[first : first + 64]))


async def _drained(world: World, worker: Role, count: int) -> Metrics:
    began, used = time.perf_counter(), worker.cpu_seconds
    await world.answered(count)
    took = time.perf_counter() - began
    return {"per_second": count / took, "cpu_ms": (worker.cpu_seconds - used) / count * 1000}


# --- With a model that takes its time


def in_flight(setting: Setting) -> Outcome:
    seconds = setting.size.model_seconds
    name = f"{IN_FLIGHT} turns at once"
    settings = (
        f"{setting.size.turns_in_flight:,} people, a model of {seconds:g} s, `convoq work --concurrency {IN_FLIGHT}`"
    )
    contestant = Contestant(name, settings, partial(_run, _in_flight, setting.size, seconds))
    series = interleave([contestant], setting)
    possible = min(IN_FLIGHT, setting.size.turns_in_flight) / seconds
    bars = [
        Bar(
            text=f"turns/s with {IN_FLIGHT} at once, of {possible:g} that the model allows",
            limit=possible * FEWEST_OF_POSSIBLE, unit="/s", at_least=True, values=series.values(name, "per_second"),
        ),
        Bar(
            text=f"the loop's lag with {IN_FLIGHT} turns at once, p99",
            limit=LONGEST_LAG_MS, unit="ms", values=series.values(name, "loop_lag_p99_ms"),
        ),
    ]  # fmt: skip
    columns = [
        Column("per_second", "turns/s", 1),
        Column("loop_lag_p99_ms", "loop lag p99 ms", 1),
        Column("loop_lag_max_ms", "longest, ms", 1),
        CPU,
    ]
    return Outcome(series, columns, bars, {name: settings})


async def _in_flight(size: Size, seconds: float, directory: Path) -> Metrics:
    people, notes = talks.people(size.turns_in_flight), directory / "notes"
    handlers = {WATCH: "benchmarks.handlers:watch_loop"}
    # One slot more: the watch is a job as well.
    slots = str(IN_FLIGHT + 1)
    async with _world(directory, people, LINES_OF_RATE, handlers=handlers) as world:
        _slow_down(world.model, seconds)
        await _take_in(world, people)
        waves = len(people) / IN_FLIGHT
        async with connect(str(world.site.config)) as queue:
            await queue.enqueue(WATCH, {"after": seconds, "seconds": seconds * max(0.5, waves - 1)})
        async with world.site.role("work", "--concurrency", slots, **{NOTES: str(notes)}) as worker:
            await world.model.wait_for_requests(1)
            metrics = await _drained(world, worker, len(people))
            while not notes.exists():  # noqa: ASYNC110 # another process writes it
                await asyncio.sleep(0.01)
    lag: Metrics = json.loads(notes.read_text())
    return metrics | lag


def _slow_down(model: LoopbackModel, seconds: float) -> None:
    chance = random.Random(11)

    def slow(_: object) -> ModelFault:
        # Never the same: answers that all come at once would be a load of their own.
        model.delay = seconds * chance.uniform(0.8, 1.2)
        return ModelFault.SLOW

    model.mode_of = slow


def _run(measure: Callable[[Size, T, Path], Coroutine[Any, Any, Metrics]], size: Size, of: T, path: Path) -> Metrics:
    return asyncio.run(measure(size, of, path))


FIGURES: Final = (
    Figure("turns", "A turn, from the webhook to the request to Twilio", LATENCY, latency),
    Figure("turn-rate", "Turns of one worker", RATE, rate),
    Figure("slow-model", f"{IN_FLIGHT} turns at once with a slow model", SLOW, in_flight),
)
