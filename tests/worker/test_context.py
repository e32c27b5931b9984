"""What a handler can know of its claim, and do with it, while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

from convoq.handlers.base import ClaimContext, Leaving
from convoq.loopback.waiting import until
from convoq.queue.base import JobState
from convoq.queue.sqlite.backend import SqliteQueue
from tests.worker.harness import BRISK, SOON, House


class Waiter:
    """A handler that waits to be cancelled, and tells why it was."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left: list[Leaving | None] = []

    async def __call__(self, context: ClaimContext) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left.append(context.leaving)
            raise


async def test_a_handler_is_told_that_the_worker_stops(house: House) -> None:
    waiter = Waiter()
    await house.put(None)
    async with house.working(waiter, drain_timeout=0.01) as running:
        await asyncio.wait_for(waiter.entered.wait(), SOON)
        await running.stop()
    assert waiter.left == [Leaving.STOPPED]


async def test_a_handler_is_told_that_its_lease_is_lost(house: House) -> None:
    waiter, thief = Waiter(), SqliteQueue(house.database)
    await thief.register("thief")
    await house.put(None)
    async with house.working(waiter, lease=0.1):
        await asyncio.wait_for(waiter.entered.wait(), SOON)
        await house.database.write(lambda tx: tx.execute("UPDATE lanes SET receipt = 'x', worker = 'thief'").rowcount)
        await until(lambda: bool(waiter.left), timeout=SOON)
    assert waiter.left == [Leaving.LOST]
    await thief.close()


async def test_a_handler_is_told_nothing_at_its_deadline(house: House) -> None:
    waiter = Waiter()
    await house.put(None)
    async with house.working(waiter, deadline=0.05):
        await until(lambda: bool(waiter.left), timeout=SOON)
    assert waiter.left == [None]


async def test_a_deadline_that_is_renewed_begins_anew(house: House, events: list[MutableMapping[str, Any]]) -> None:
    async def go_on(context: ClaimContext) -> None:
        for _ in range(6):
            await asyncio.sleep(0.1)  # the deadline's own time
            context.renew_deadline()

    [job_id] = await house.put(None)
    # Longer than its deadline and what a handler may take to end after it: it is not stuck either.
    async with house.working(go_on, deadline=0.25, timings=replace(BRISK, cancel_grace=0.1)) as running:
        await house.until_done(job_id)
        assert not running.task.done()
    assert "handler.stuck" not in [event["event"] for event in events]


async def test_a_renewed_deadline_ends_too(house: House) -> None:
    async def renew_once(context: ClaimContext) -> None:
        context.renew_deadline()
        await asyncio.Event().wait()

    [job_id] = await house.put(None)
    async with house.working(renew_once, deadline=0.05):
        record = await house.until(job_id, lambda record: record.error is not None)
    assert "TimeoutError" in (record.error or "")


async def test_a_deadline_that_is_over_cannot_be_renewed(house: House) -> None:
    async def renew_late(context: ClaimContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            context.renew_deadline()

    [job_id] = await house.put(None)
    async with house.working(renew_late, deadline=0.05):
        record = await house.until(job_id, lambda record: record.error is not None)
    assert "TimeoutError" in (record.error or "")


async def test_a_handler_sees_its_lease_run_down_and_be_renewed(house: House) -> None:
    seen: list[float] = []

    async def look(context: ClaimContext) -> None:
        while len(seen) < 3 or not (seen[-1] > 0.9 > min(seen)):
            seen.append(context.lease_left())
            await asyncio.sleep(0.01)  # between two looks

    [job_id] = await house.put(None)
    async with house.working(look, lease=0.6):
        await house.until_done(job_id)
    assert 0.8 < seen[0] <= 1.0
    assert 0.3 < min(seen) < 0.8  # it is renewed after a third; between two looks at it time passes


async def test_a_lease_that_is_not_renewed_runs_out_for_its_handler(house: House) -> None:
    seen: list[float] = []
    over = asyncio.Event()

    async def look(context: ClaimContext) -> None:
        while context.claim.jobs[0].attempt == 1 and not over.is_set():
            seen.append(context.lease_left())
            over.set() if seen[-1] == 0.0 else await asyncio.sleep(0.01)  # between two looks

    await house.put(None)
    async with house.working(look, lease=0.3, timings=replace(BRISK, beat=60.0)):
        await asyncio.wait_for(over.wait(), SOON)
    assert seen == sorted(seen, reverse=True)


async def test_a_claim_that_its_handler_has_acknowledged_is_not_acked_again(
    house: House, events: list[MutableMapping[str, Any]]
) -> None:
    async def ack_it(context: ClaimContext) -> None:
        joined = house.engine.joined
        assert await house.database.write(lambda tx: joined.ack(tx, context.claim, forget=False))
        context.acknowledged()

    [job_id] = await house.put(None)
    async with house.working(ack_it) as running:
        await house.until_done(job_id)
        await until(lambda: not running.worker.busy, timeout=SOON)
        await running.stop()
    told = [event["event"] for event in events if event["event"].startswith("job.") and event["log_level"] != "debug"]
    assert told == ["job.finished"]


async def test_what_a_handler_does_after_it_has_acknowledged_its_claim_cannot_fail_it(
    house: House, events: list[MutableMapping[str, Any]]
) -> None:
    async def ack_and_fail(context: ClaimContext) -> None:
        joined = house.engine.joined
        await house.database.write(lambda tx: joined.ack(tx, context.claim, forget=False))
        context.acknowledged()
        raise RuntimeError("afterwards")

    [job_id] = await house.put(None)
    async with house.working(ack_and_fail) as running:
        await house.until_done(job_id)
        await running.stop()
    assert (await house.record(job_id)).state is JobState.DONE
    [failed] = [event for event in events if event["event"] == "job.failed_after_ack"]
    assert failed["error"] == "RuntimeError: afterwards"
