"""`--drain`: the worker ends when nothing is left to do."""

from __future__ import annotations

from convoq.handlers.base import ClaimContext
from convoq.queue.base import JobState
from tests.worker.harness import House, nothing


async def test_drain_ends_when_nothing_is_left(house: House) -> None:
    ids = await house.put(*[None] * 20)
    async with house.working(nothing, drain=True) as running:
        await running.ended()
    assert {(await house.record(job_id)).state for job_id in ids} == {JobState.DONE}


async def test_drain_ends_on_an_empty_queue(house: House) -> None:
    async with house.working(nothing, drain=True) as running:
        await running.ended()


async def test_drain_waits_for_what_is_due_soon(house: House) -> None:
    [job_id] = await house.put(None, delay=0.3)
    async with house.working(nothing, drain=True) as running:
        await running.ended()
    assert (await house.record(job_id)).state is JobState.DONE


async def test_drain_does_not_wait_for_what_is_due_much_later(house: House) -> None:
    [job_id] = await house.put(None, delay=3600)
    async with house.working(nothing, drain=True) as running:
        await running.ended()
    assert (await house.record(job_id)).state is JobState.READY


async def test_drain_waits_for_what_a_handler_enqueues(house: House) -> None:
    made: list[str] = []

    async def more(_: ClaimContext) -> None:
        if len(made) < 5:
            made.extend(await house.put(None))

    await house.put(None)
    async with house.working(more, drain=True) as running:
        await running.ended()
    assert {(await house.record(job_id)).state for job_id in made} == {JobState.DONE}
