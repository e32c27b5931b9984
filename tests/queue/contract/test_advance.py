"""A claim that is done goes on with what stands behind it in its lane."""

from __future__ import annotations

import pytest

from convoq.errors import LeaseLost
from convoq.jobs import INTAKE, INTAKE_KIND, NORMAL, PEOPLE
from convoq.queue.base import Claim, JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import LEASE, TOGETHER, attempts, everything, job, numbers, put, record, take_one


async def goes_on(engine: Engine, claim: Claim, *, forget: bool = False) -> Claim:
    following = await engine.advance(claim, forget=forget, together=TOGETHER)
    assert following is not None
    return following


async def test_the_next_job_is_charged_under_the_same_receipt_and_lease(engine: Engine, clock: ManualClock) -> None:
    first, second = await put(engine, job(1, key="a", kind="one"), job(2, key="a", kind="two"))
    claim = await take_one(engine)
    clock.advance(LEASE - 1.0)
    following = await goes_on(engine, claim)
    assert (numbers(following), attempts(following), following.receipt) == ([2], [1], claim.receipt)
    assert (await record(engine, first)).state is JobState.DONE
    assert (await record(engine, second)).claimed_at == clock.now()
    clock.advance(1.0)
    assert numbers(await take_one(engine)) == [2]


async def test_a_claim_knows_whether_more_stands_behind_it(engine: Engine) -> None:
    await put(engine, job(1, key="a", kind="one"), job(2, key="a", kind="two"))
    claim = await take_one(engine)
    assert claim.has_more
    assert not (await goes_on(engine, claim)).has_more


async def test_with_nothing_behind_it_the_lane_is_free(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    assert await engine.advance(claim, together=TOGETHER) is None
    with pytest.raises(LeaseLost):
        await engine.ack(claim)
    await put(engine, job(2, key="a"))
    assert numbers(await take_one(engine)) == [2]


async def test_it_takes_together_what_a_claim_would(engine: Engine) -> None:
    await put(engine, job(1, key="a", kind="one"), *[job(n, key="a") for n in (2, 3)], job(4, key="a", kind="send"))
    following = await goes_on(engine, await take_one(engine))
    assert (numbers(following), following.has_more) == ([2, 3], True)


async def test_what_is_done_can_be_forgotten(engine: Engine) -> None:
    await put(engine, job(1, key="a", kind="one"), job(2, key="a"))
    following = await goes_on(engine, await take_one(engine), forget=True)
    assert [each.id for each in await everything(engine)] == [following.jobs[0].id]


async def test_what_came_meanwhile_is_gone_on_with_as_well(engine: Engine) -> None:
    await put(engine, job(1, key="a", kind="one"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    assert numbers(await goes_on(engine, claim)) == [2]


async def test_what_is_less_urgent_takes_no_slot_of_intake(engine: Engine) -> None:
    await put(engine, job(1, key="a", kind=INTAKE_KIND, priority=INTAKE), job(2, key="a", priority=NORMAL))
    claim = await take_one(engine)
    assert claim.priority == INTAKE
    assert await engine.advance(claim, together=TOGETHER) is None
    assert [each.state for each in await everything(engine)] == [JobState.READY, JobState.DONE]
    assert numbers(await take_one(engine)) == [2]


async def test_a_lane_that_has_become_more_urgent_is_claimed_in_its_new_class(engine: Engine) -> None:
    await put(engine, job(1, key="a", kind="one", priority=NORMAL))
    claim = await take_one(engine)
    await put(engine, job(2, key="a", priority=PEOPLE))
    assert await engine.advance(claim, together=TOGETHER) is None
    claim = await take_one(engine)
    assert (numbers(claim), claim.priority) == ([2], PEOPLE)


async def test_a_job_behind_it_that_failed_before_keeps_its_attempts(engine: Engine) -> None:
    [second] = await put(engine, job(2, key="b", kind="two"))
    claim = await take_one(engine)
    await engine.nack(claim, delay=0.0, charged=claim.jobs)
    await put(engine, job(3, key="b", kind="three"))
    claim = await take_one(engine)
    assert (claim.jobs[0].id, attempts(claim)) == (second, [2])
    assert attempts(await goes_on(engine, claim)) == [1]
