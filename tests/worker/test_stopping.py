"""A stop drains and hands back; what cannot be stopped has the process replaced."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from convoq.handlers.base import ClaimContext
from convoq.queue.base import JobState
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.worker import WorkerStuck
from tests.worker.harness import BRISK, SOON, Gate, House, nothing


async def test_a_stop_lets_running_handlers_finish(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate) as running:
        await gate.holds()
        running.stopping.set()
        await asyncio.sleep(0.05)  # that it does not end has no state to wait for
        assert not running.task.done()
        gate.open.set()
        await running.ended()
    assert (await house.record(job_id)).state is JobState.DONE


async def test_a_stop_claims_nothing_more(house: House) -> None:
    gate = Gate()
    await house.put(None)
    async with house.working(gate) as running:
        await gate.holds()
        running.stopping.set()
        [late] = await house.put(None)
        await asyncio.sleep(0.05)  # that nothing is claimed has no state to wait for
        gate.open.set()
        await running.ended()
    assert (await house.record(late)).claimed_at is None


async def test_leases_are_kept_while_it_drains(house: House) -> None:
    gate = Gate()
    await house.put(None)
    async with house.working(gate, lease=0.2) as running:
        await gate.holds()
        running.stopping.set()
        await asyncio.sleep(0.6)  # three leases: that none runs out has no state to wait for
        assert await house.due_in() > 0
        gate.open.set()
        await running.ended()


async def test_what_outlasts_the_drain_goes_back_without_an_attempt(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, drain_timeout=0.05) as running:
        await gate.holds()
        await running.stop()
    record = await house.record(job_id)
    assert (record.state, record.attempt, record.running) == (JobState.READY, 0, False)
    assert await house.due_in() == 0


async def test_a_second_signal_hands_everything_back_at_once(house: House) -> None:
    gate = Gate()
    ids = await house.put(None, None)
    async with house.working(gate, drain_timeout=60) as running:
        await gate.holds(2)
        running.stopping.set()
        running.at_once.set()
        await running.ended()
    assert [(await house.record(job_id)).attempt for job_id in ids] == [0, 0]


async def test_an_idle_worker_stops_at_once(house: House) -> None:
    async with house.working(nothing) as running:
        await house.until_done(*await house.put(None))
        await running.stop()


IMPATIENT = replace(BRISK, cancel_grace=0.05, stop_grace=0.05)


class Stubborn:
    """A handler that takes no notice of being cancelled."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.task: asyncio.Task[object] | None = None

    async def __call__(self, _: ClaimContext) -> None:
        self.task = asyncio.current_task()
        self.entered.set()
        while not self.let_go.is_set():
            with suppress(asyncio.CancelledError):
                await self.let_go.wait()


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    stubborn = Stubborn()
    yield stubborn
    stubborn.let_go.set()
    if stubborn.task is not None:
        await asyncio.wait([stubborn.task], timeout=SOON)


async def test_a_handler_that_goes_on_after_its_deadline_has_the_process_replaced(
    house: House, stubborn: Stubborn
) -> None:
    await house.put(None)
    async with house.working(stubborn, deadline=0.05, drain_timeout=0.05, timings=IMPATIENT) as running:
        with pytest.raises(WorkerStuck):
            await running.ended()


async def test_a_handler_that_goes_on_after_a_stop_has_the_process_replaced(house: House, stubborn: Stubborn) -> None:
    await house.put(None)
    async with house.working(stubborn, drain_timeout=0.05, timings=IMPATIENT) as running:
        await stubborn.entered.wait()
        running.stopping.set()
        with pytest.raises(WorkerStuck):
            await running.ended()


class HeldWriter:
    """A handler that ends at once, while the writer is held up: what came of the job cannot be recorded."""

    def __init__(self, house: House) -> None:
        self.let_go = threading.Event()
        self.held = asyncio.Event()
        self._house = house

    async def __call__(self, _: ClaimContext) -> None:
        self._house.database.submit(lambda _: self.let_go.wait(SOON))
        self.held.set()


@pytest.fixture
def held(house: House) -> Iterator[HeldWriter]:
    held = HeldWriter(house)
    yield held
    held.let_go.set()


async def test_a_handler_that_has_ended_is_not_stuck_while_its_outcome_waits_for_the_database(
    house: House, held: HeldWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = asyncio.Semaphore(0)

    async def recover(self: SqliteQueue) -> int:
        looks.release()
        return await whole(self)

    whole = SqliteQueue.recover
    monkeypatch.setattr(SqliteQueue, "recover", recover)
    [job_id] = await house.put(None)
    async with house.working(held, deadline=0.05, timings=IMPATIENT) as running:
        await held.held.wait()
        ended_at = monotonic()
        async with asyncio.timeout(SOON):
            while monotonic() < ended_at + 0.2:  # beyond its deadline and the grace
                await looks.acquire()
            await looks.acquire()
        assert not running.task.done()
        held.let_go.set()
        await house.until_done(job_id)
        await running.stop()


async def test_a_stop_that_waits_no_longer_for_an_outcome_calls_no_handler_stuck(
    house: House, held: HeldWriter, events: list[MutableMapping[str, Any]]
) -> None:
    [job_id] = await house.put(None)
    async with house.working(held, drain_timeout=0.05, timings=IMPATIENT) as running:
        await held.held.wait()
        await running.stop()
        told = [(event["event"], event.get("job_id")) for event in events if event["log_level"] == "error"]
        assert told == [("job.outcome_unrecorded", job_id)]
        held.let_go.set()
        await house.until_done(job_id)
