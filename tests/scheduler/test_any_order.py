"""Outages, clock steps, pauses and restarts in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.machine import DAY, HOUR, MADRID, MINUTE, SECOND, Machine, cron, every

STEPS = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 3 * HOUR)),
    st.tuples(st.just("step the wall"), st.integers(-2 * DAY, 2 * DAY)),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.just("down"), st.integers(1, 3 * DAY)),
    st.tuples(st.just("break"), st.booleans()),
)


@given(steps=st.lists(STEPS, max_size=25), missed=st.sampled_from(["once", "skip"]))
def test_whatever_happens_only_true_slots_run_and_the_next_one_is_never_lost(
    steps: Iterable[tuple[str, int]], missed: str
) -> None:
    asyncio.run(_survive(steps, missed))


async def _survive(steps: Iterable[tuple[str, int]], missed: str) -> None:
    machine = Machine()
    entries = [every(600, name="period", missed=missed), cron("*/10 * * * *", MADRID, missed=missed)]
    schedulers = [machine.scheduler(*entries), machine.scheduler(*entries)]
    for step, amount in steps:
        if step == "pass":
            machine.pass_time(amount)
        elif step == "step the wall":
            machine.step_wall(amount)
        elif step == "restart":
            schedulers[amount] = machine.scheduler(*entries)
        elif step == "down":
            machine.pass_time(amount)
            schedulers = [machine.scheduler(*entries), machine.scheduler(*entries)]
        else:
            machine.queue.broken = (lambda _: True) if amount else (lambda _: False)
        for scheduler in schedulers:
            await scheduler.tick()
    machine.queue.broken = lambda _: False
    for scheduler in schedulers:
        await machine.live(scheduler, SECOND)
    before = len(machine.queue.slots("period"))
    await machine.live(schedulers[0], 10 * MINUTE)
    assert all(slot % (10 * MINUTE) == 0 for name in ("period", "report") for slot in machine.queue.slots(name))
    assert len(machine.queue.slots("period")) == before + 1
    assert machine.wall_clock.now() // (10 * MINUTE) * (10 * MINUTE) in machine.queue.slots("report")
