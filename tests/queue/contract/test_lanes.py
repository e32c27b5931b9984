"""Jobs of one ordering key are handed out in order, to one claim at a time."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.conftest import Engine, OpenEngine
from tests.queue.contract.steps import (
    job,
    numbers,
    put,
    take,
    take_one,
    takes_to_the_end,
)


async def test_a_burst_is_one_claim_oldest_first(engine: Engine) -> None:
    for n in range(10):
        await put(engine, job(n, key="a"))
    claim = await take_one(engine)
    assert (numbers(claim), claim.lane, claim.kind) == (list(range(10)), "a", "reply")


async def test_a_lane_under_a_live_claim_is_not_handed_out(engine: Engine, open_engine: OpenEngine) -> None:
    await put(engine, job(1, key="a"))
    await take_one(engine)
    await put(engine, job(2, key="a"))
    assert await take(engine) == []
    assert await take((await open_engine()).engine, worker="other") == []


async def test_racing_claimers_share_the_lanes(engine: Engine, open_engine: OpenEngine) -> None:
    await put(engine, *[job(n, key=f"lane-{n % 20}") for n in range(40)])
    others = [engine, (await open_engine()).engine, (await open_engine()).engine]
    racers = [take(others[n % 3], 3, worker=str(n % 3)) for n in range(30)]
    lanes = [claim.lane for claims in await asyncio.gather(*racers) for claim in claims]
    assert sorted(lanes) == sorted(f"lane-{n}" for n in range(20))


async def test_lanes_are_claimed_beside_each_other(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"), job(3))
    assert sorted(numbers(claim) for claim in await take(engine)) == [[1], [2], [3]]


async def test_jobs_without_a_key_stand_in_lanes_of_their_own(engine: Engine) -> None:
    await put(engine, job(1), job(2), job(3))
    claims = await take(engine)
    assert [len(claim.jobs) for claim in claims] == [1, 1, 1]
    assert len({claim.lane for claim in claims}) == 3


async def test_an_ordering_key_never_names_the_lane_of_a_job_without_one(engine: Engine) -> None:
    [alone] = await put(engine, job(1, delay=60.0))
    await put(engine, job(2, key=alone))
    assert numbers(await take_one(engine)) == [2]


async def test_ordering_keys_that_only_look_alike_are_different_lanes(engine: Engine) -> None:
    alike = [" ", "a", "A", "1", "01", "é", "e\u0301", "x\u0000a", "x\u0000b", "sms|+1|+2", "sms|+1|+2 "]
    await put(engine, *[job(n, key=key) for n, key in enumerate(alike)])
    await put(engine, *[job(n, key=key) for n, key in enumerate(alike)])
    claims = await take(engine)
    assert sorted(numbers(claim) for claim in claims) == [[n, n] for n in range(len(alike))]
    assert {claim.lane for claim in claims} == set(alike)


@pytest.mark.parametrize("key", ["", "~", "~1"])
def test_an_ordering_key_that_could_be_taken_for_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="ordering key"):
        job(key=key)


async def test_mixed_kinds_come_as_successive_claims_in_order(engine: Engine) -> None:
    kinds = ["reply", "reply", "send", "reply", "send", "send"]
    await put(engine, *[job(n, key="a", kind=kind) for n, kind in enumerate(kinds)])
    seen = []
    while claims := await take(engine):
        [claim] = claims
        assert {each.kind for each in claim.jobs} == {claim.kind}
        seen.append(numbers(claim))
        await engine.ack(claim)
    assert seen == [[0, 1], [2], [3], [4, 5]]


async def test_jobs_that_arrive_under_a_claim_wait_and_are_due_at_once_after_it(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"), job(3, key="a"))
    assert await take(engine) == []
    await engine.ack(claim)
    assert numbers(await take_one(engine)) == [2, 3]


async def test_a_long_lane_is_handed_out_in_order_and_whole(engine: Engine) -> None:
    await put(engine, *[job(n, key="a") for n in range(500)])
    assert await takes_to_the_end(engine) == list(range(500))


async def test_enqueues_of_two_producers_keep_each_ones_order(engine: Engine, open_engine: OpenEngine) -> None:
    other = (await open_engine()).engine
    for n in range(0, 20, 2):
        await put(engine, job(n, key="a"))
        await put(other, job(n + 1, key="a"))
    assert await takes_to_the_end(engine) == list(range(20))


async def test_a_lane_that_was_emptied_takes_jobs_again(engine: Engine) -> None:
    for n in range(3):
        await put(engine, job(n, key="a"))
        assert await takes_to_the_end(engine) == [n]
