"""Jobs of one lane follow one another in their slot, for a while."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import replace

import pytest

from convoq.handlers.base import ClaimContext
from convoq.jobs import PEOPLE
from convoq.queue.base import Claim
from convoq.queue.sqlite.backend import SqliteQueue
from tests.worker.harness import BRISK, SOON, Gate, House, nothing

PATIENT = replace(BRISK, lane_share=60.0)
HURRIED = replace(BRISK, lane_share=0.0)


class Order:
    """A handler that notes in which order jobs are run."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def __call__(self, context: ClaimContext) -> None:
        self.ids.append(context.claim.jobs[0].id)


async def test_the_jobs_of_a_lane_follow_one_another_under_one_claim(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[str] = []

    async def claim(self: SqliteQueue, *args: object, **options: object) -> list[Claim]:
        claims = await whole(self, *args, **options)  # type: ignore[arg-type] # handed on as it came
        claimed.extend(each.jobs[0].id for each in claims)
        return claims

    whole = SqliteQueue.claim
    monkeypatch.setattr(SqliteQueue, "claim", claim)
    ids = await house.put("a", "a", "a", "a")
    order = Order()
    async with house.working(order, timings=PATIENT):
        await house.until_done(*ids)
    assert (order.ids, claimed) == (ids, ids[:1])


@pytest.mark.parametrize(("timings", "turns"), [(PATIENT, "aaab"), (HURRIED, "abaa")])
async def test_a_lane_that_has_had_its_share_lets_the_next_one_go_first(
    house: House, timings: object, turns: str
) -> None:
    first = await house.put("a", "a", "a", priority=PEOPLE)
    [other] = await house.put("b", priority=PEOPLE)
    order = Order()
    async with house.working(order, concurrency=1, timings=timings):  # type: ignore[arg-type] # one of the two above
        await house.until_done(*first, other)
    assert "".join("b" if job_id == other else "a" for job_id in order.ids) == turns


async def test_each_job_of_a_lane_has_a_context_of_its_own(house: House) -> None:
    mood: ContextVar[str] = ContextVar("mood", default="calm")
    seen: list[str] = []

    async def moody(_: ClaimContext) -> None:
        seen.append(mood.get())
        mood.set("angry")

    ids = await house.put("a", "a")
    async with house.working(moody, timings=PATIENT):
        await house.until_done(*ids)
    assert seen == ["calm", "calm"]


async def test_a_lane_that_goes_on_takes_one_slot(house: House) -> None:
    most = 0

    async def busy(_: ClaimContext) -> None:
        nonlocal most
        most = max(most, running.worker.busy)
        await asyncio.sleep(0)

    ids = await house.put(*["a", "b", "c", "d"] * 10, priority=PEOPLE)
    async with house.working(busy, concurrency=2, timings=PATIENT) as running:
        await house.until_done(*ids)
        assert running.worker.busy == 0
    assert most == 2


async def test_a_stopped_worker_goes_on_with_nothing(house: House) -> None:
    first, second = await house.put("a", "a")
    gate = Gate()
    async with house.working(gate, timings=PATIENT) as running:
        await gate.holds()
        running.stopping.set()
        await asyncio.sleep(0)
        gate.open.set()
        await running.ended()
    await house.until_done(first)
    record = await house.record(second)
    assert (record.attempt, record.running, gate.started) == (0, False, [first])


async def test_a_job_that_is_taken_while_the_worker_stops_goes_back_as_not_begun(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ClaimContext] = []

    async def note(context: ClaimContext) -> None:
        contexts.append(context)

    async def advance(self: SqliteQueue, claim: Claim, **options: object) -> Claim | None:
        running.stopping.set()
        while not contexts[0].stopping:  # noqa: ASYNC110 # the worker says so, and signals nothing
            await asyncio.sleep(0)
        return await whole(self, claim, **options)  # type: ignore[arg-type] # handed on as it came

    whole = SqliteQueue.advance
    monkeypatch.setattr(SqliteQueue, "advance", advance)
    first, second = await house.put("a", "a")
    async with house.working(note, timings=PATIENT) as running:
        await running.ended()
    await house.until_done(first)
    record = await house.record(second)
    assert (record.attempt, record.claimed_at, record.running) == (0, None, False)


async def test_a_job_behind_one_of_an_unknown_kind_is_left_to_another_worker(house: House) -> None:
    [first] = await house.put("a")
    [unknown] = await house.put("a", kind="unknown")
    [last] = await house.put("a")
    async with house.working(nothing, concurrency=1, timings=PATIENT):
        await house.until_done(first, last)
        await house.until(unknown, lambda record: record.reason == "no handler for this kind here")


async def test_a_job_that_fails_ends_the_share_of_its_lane(house: House) -> None:
    first, second = await house.put("a", "a")

    async def fail(_: ClaimContext) -> None:
        raise RuntimeError("no")

    async with house.working(fail, timings=PATIENT):
        await house.until(first, lambda record: record.attempt == 1 and not record.running)
        async with asyncio.timeout(SOON):
            assert (await house.record(second)).attempt == 0
