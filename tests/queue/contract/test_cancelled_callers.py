"""A cancelled call has done all that it does, or nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Coroutine
from typing import Any

from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    LEASE,
    attempts,
    everything,
    job,
    numbers,
    put,
    take,
    takes_to_the_end,
)


async def cut_short(work: Awaitable[object], chance: random.Random) -> bool:
    """Runs `work` and cancels it at a random moment; whether it came to its end before."""
    task = asyncio.ensure_future(work)
    if chance.random() < 0.5:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(chance.random() * 0.004)
    task.cancel()
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, asyncio.CancelledError):
        return False
    assert not isinstance(result, BaseException), result
    return True


async def test_a_cancelled_enqueue_stores_all_or_nothing(engine: Engine) -> None:
    chance = random.Random(1)
    twins = [engine.enqueue([job(n, key="a"), job(n, key="b")], max_attempts=5) for n in range(60)]
    ended = [await cut_short(each, chance) for each in twins]
    await put(engine, job(1000, key="c"))
    stored = [json.loads(each.payload)["n"] for each in await everything(engine)]
    assert all(stored.count(n) in ((2,) if done else (0, 2)) for n, done in enumerate(ended))


async def test_a_cancelled_claim_charges_all_or_nothing_and_loses_nothing(engine: Engine, clock: ManualClock) -> None:
    chance = random.Random(2)
    await put(engine, *[job(n, key=f"lane-{n // 2}") for n in range(80)])
    for _ in range(40):
        await cut_short(take(engine, 3), chance)
    await put(engine, job(1000))
    clock.advance(LEASE)
    claims = [claim for claim in await take(engine) if claim.lane.startswith("lane-")]
    assert sorted(numbers(claim) for claim in claims) == [[n, n + 1] for n in range(0, 80, 2)]
    assert all(len(set(attempts(claim))) == 1 for claim in claims)


async def test_a_cancelled_ack_ends_all_or_nothing(engine: Engine) -> None:
    chance, ended = random.Random(3), {}
    await put(engine, *[job(n, key=f"lane-{n // 2}") for n in range(80)])
    claims = await take(engine)
    for claim in claims:
        ended[claim.lane] = await cut_short(engine.ack(claim), chance)
    await put(engine, job(1000))
    states: dict[str, list[JobState]] = {}
    for each in await everything(engine):
        states.setdefault(each.ordering_key or "", []).append(each.state)
    for claim in claims:
        whole = [[JobState.DONE] * 2] if ended[claim.lane] else [[JobState.DONE] * 2, [JobState.READY] * 2]
        assert states[claim.lane] in whole
        if states[claim.lane] == [JobState.READY] * 2:
            await engine.ack(claim)


async def test_cancelled_callers_disturb_none_of_those_beside_them(engine: Engine) -> None:
    chance = random.Random(4)
    calls: list[Coroutine[Any, Any, object]] = []
    for n in range(60):
        work = engine.enqueue([job(n, key="a")], max_attempts=5)
        calls.append(cut_short(work, chance) if n % 2 else work)
    await asyncio.gather(*calls)
    stored = await takes_to_the_end(engine)
    assert set(range(0, 60, 2)) <= set(stored)
    assert len(stored) == len(set(stored))
