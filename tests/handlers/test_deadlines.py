"""One timer for the deadlines of all handlers: each has its own time."""

from __future__ import annotations

import asyncio

import pytest

from convoq.handlers.deadlines import Deadline, Deadlines

BRIEF = 0.05  # seconds, by the loop's own clock


async def held(deadlines: Deadlines) -> float:
    """When the deadline of what never returns is over, by the loop's clock, and how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), Deadline(deadlines):
        await asyncio.Event().wait()
    return loop.time() - began


async def test_a_deadline_that_begins_later_ends_later() -> None:
    deadlines = Deadlines(BRIEF)
    first = asyncio.create_task(held(deadlines))
    await asyncio.sleep(BRIEF / 2)
    assert await held(deadlines) >= BRIEF
    assert await first >= BRIEF


async def test_what_ends_in_time_leaves_the_others_their_deadline() -> None:
    deadlines = Deadlines(BRIEF)
    with Deadline(deadlines):
        other = asyncio.create_task(held(deadlines))
        await asyncio.sleep(0)
    assert await other >= BRIEF


async def test_a_deadline_after_all_others_are_over_ends_too() -> None:
    deadlines = Deadlines(BRIEF)
    assert await held(deadlines) >= BRIEF
    assert await held(deadlines) >= BRIEF


async def test_the_timer_of_one_that_has_ended_ends_no_later_one_early() -> None:
    deadlines = Deadlines(BRIEF)
    with Deadline(deadlines):
        await asyncio.sleep(0)
    await asyncio.sleep(BRIEF / 2)
    assert await held(deadlines) >= BRIEF


async def test_a_renewed_deadline_outlives_those_that_were_to_end_after_it() -> None:
    deadlines = Deadlines(BRIEF)

    async def renew() -> None:
        with Deadline(deadlines) as deadline:
            other.append(asyncio.create_task(held(deadlines)))
            await asyncio.sleep(0)
            assert deadline.renew()
            await asyncio.Event().wait()

    other: list[asyncio.Task[float]] = []
    with pytest.raises(TimeoutError):
        await renew()
    assert other[0].done()
    assert await other[0] >= BRIEF


async def test_who_is_cancelled_besides_ends_as_cancelled() -> None:
    deadlines = Deadlines(BRIEF)

    async def hold_on() -> None:
        with Deadline(deadlines):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                over.set()
                await stopped.wait()

    over, stopped = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(hold_on())
    await over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_handler_makes_of_its_cancellation_comes_out_of_it() -> None:
    async def make_its_own() -> None:
        with Deadline(Deadlines(BRIEF)):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("its own") from None

    with pytest.raises(ValueError, match="its own"):
        await make_its_own()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
