"""A handler that blocks the event loop: its lease is kept, it is named in the log, and it does not block for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any

import pytest

from convoq.handlers.base import ClaimContext
from convoq.queue.base import JobState
from tests.worker.harness import BRISK, SOON, House

ALERT = replace(BRISK, blocked=0.3, cancel_grace=0.05)
Events = list[MutableMapping[str, Any]]


def named(events: Events, name: str) -> Events:
    """Those of a job: on a crowded machine the loop may be late by itself."""
    return [event for event in events if event["event"] == name and "job_id" in event]


def hold_until(condition: Callable[[], bool]) -> None:
    """Blocks its thread, as a library without an event loop does."""
    deadline = time.monotonic() + SOON
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)  # the block itself


class Blocking:
    """A handler that blocks the loop until a condition holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self.condition = condition
        self.started = 0

    async def __call__(self, _: ClaimContext) -> None:
        self.started += 1
        hold_until(self.condition)


async def test_a_lease_is_kept_while_the_handler_blocks_the_loop(house: House) -> None:
    begun = time.monotonic()
    handler = Blocking(lambda: time.monotonic() - begun > 2.0)  # more than two leases
    [job_id] = await house.put(None)
    others: list[str] = []

    def steal() -> None:
        """What another worker would do meanwhile: claim whatever is due."""
        hold_until(lambda: handler.started > 0)
        while time.monotonic() - begun < 1.95:
            due = house.database.write_blocking(
                lambda tx: tx.execute("SELECT due_at FROM lanes").fetchone()[0] - house.database.clock.now()
            )
            others.extend(["due"] if due <= 0 else [])
            time.sleep(0.05)  # between two looks: a lane that is never due has no state to wait for

    thief = threading.Thread(target=steal)
    thief.start()
    async with house.working(handler, lease=0.9):
        await house.until_done(job_id)
    await asyncio.to_thread(thief.join, SOON)
    assert (others, handler.started) == ([], 1)


async def test_a_loop_that_is_blocked_is_reported_once_with_the_job_the_place_and_the_length(
    house: House, events: Events
) -> None:
    begun = time.monotonic()
    handler = Blocking(lambda: bool(named(events, "loop.blocked")) and time.monotonic() - begun > 0.8)
    [job_id] = await house.put(None)
    async with house.working(handler, timings=ALERT):
        await house.until(job_id, lambda _: bool(named(events, "loop.free")))
    [blocked] = named(events, "loop.blocked")
    [free] = named(events, "loop.free")
    assert (blocked["kind"], blocked["job_id"]) == (free["kind"], free["job_id"]) == ("k", job_id)
    assert "hold_until < test_blocked_loop.py:" in blocked["where"]
    assert "\n" not in blocked["where"]
    assert 0.2 < free["seconds"] < SOON


async def test_a_task_that_blocks_the_loop_is_named_with_the_job_that_made_it(house: House, events: Events) -> None:
    from convoq.handlers.tasks import make_task

    async def block() -> None:
        hold_until(lambda: bool(named(events, "loop.blocked")))

    async def handler(_: ClaimContext) -> None:
        await asyncio.create_task(block())

    asyncio.get_running_loop().set_task_factory(make_task)
    [job_id] = await house.put(None)
    async with house.working(handler, timings=ALERT):
        await house.until_done(job_id)
    assert [event["job_id"] for event in named(events, "loop.blocked")] == [job_id]


async def test_a_loop_that_is_not_blocked_is_not_reported(house: House, events: Events) -> None:
    async def handler(_: ClaimContext) -> None:
        await asyncio.sleep(1.2)  # a report that does not come has no state to wait for

    jobs = await house.put(None, None)
    async with house.working(handler):
        await house.until_done(*jobs)
    assert named(events, "loop.blocked") == []


async def test_a_handler_that_blocks_the_loop_beyond_its_deadline_has_the_process_replaced_from_the_thread(
    house: House, events: Events
) -> None:
    replaced: list[int] = []
    handler = Blocking(lambda: bool(replaced))
    [job_id] = await house.put(None)
    async with house.working(
        handler, deadline=0.3, timings=ALERT, on_stuck=lambda: replaced.append(threading.get_ident())
    ):
        await house.until_done(job_id)
    assert replaced[0] != threading.get_ident()
    stuck = named(events, "handler.stuck")[0]
    assert (stuck["kind"], stuck["job_id"]) == ("k", job_id)
    assert "hold_until" in stuck["where"]


async def test_a_job_that_could_not_be_cancelled_while_another_blocked_the_loop_is_not_stuck(house: House) -> None:
    begun = asyncio.Event()

    async def handler(context: ClaimContext) -> None:
        if context.claim.jobs[0].id == patient:
            begun.set()
            try:
                await asyncio.sleep(60)  # until it is cancelled
            finally:
                await asyncio.sleep(0.05)  # its end takes a moment
        else:
            await begun.wait()
            hold = time.monotonic() + 1.5
            hold_until(lambda: time.monotonic() > hold)

    [patient] = await house.put(None)
    blocker = (await house.put(None))[0]
    timings = replace(ALERT, cancel_grace=1.0)
    async with house.working(handler, deadline=0.2, timings=timings) as running:
        for job_id in (patient, blocker):
            await house.until(job_id, lambda record: record.error is not None or record.state is JobState.DONE)
        assert not running.task.done()


async def test_what_makes_the_leases_untenable_ends_the_worker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from convoq.errors import DatabaseRefused

    async def handler(_: ClaimContext) -> None:
        await asyncio.sleep(60)  # until it is cancelled

    def refuse(*_: object, **__: object) -> None:
        raise DatabaseRefused("damaged")

    await house.put(None)
    async with house.working(handler, lease=0.1, drain_timeout=0.01) as running:
        monkeypatch.setattr(running.engine, "extend", refuse)
        with pytest.raises(DatabaseRefused):
            await running.ended()
