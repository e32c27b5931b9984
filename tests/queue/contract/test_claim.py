"""What a claim hands out: what is due, the most urgent lanes first, the longest due among equals."""

from __future__ import annotations

from convoq.jobs import INTAKE, INTAKE_KIND, NORMAL, PEOPLE, UPKEEP, NewJob
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    TOGETHER,
    attempts,
    everything,
    job,
    numbers,
    put,
    take,
    take_one,
    takes_to_the_end,
)


async def test_an_empty_queue_gives_no_claim(engine: Engine) -> None:
    assert await take(engine) == []


async def test_a_claim_of_nothing_gives_nothing(engine: Engine) -> None:
    await put(engine, job())
    assert await take(engine, limit=0) == []
    assert (await everything(engine))[0].attempt == 0


async def test_a_delayed_job_is_due_at_its_time_and_not_before(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(delay=10.0))
    clock.advance(9.999)
    assert await take(engine) == []
    clock.advance(0.001)
    assert numbers(await take_one(engine)) == [0]


async def test_a_delayed_job_holds_back_no_other(engine: Engine) -> None:
    await put(engine, job(1, delay=60.0), job(2))
    assert await takes_to_the_end(engine) == [2]


async def test_urgent_lanes_come_first(engine: Engine, clock: ManualClock) -> None:
    for n, priority in enumerate((UPKEEP, NORMAL, PEOPLE)):
        await put(engine, job(n, priority=priority))
        clock.advance(1.0)
    assert [numbers(claim) for claim in await take(engine)] == [[2], [1], [0]]


async def test_a_limited_claim_leaves_the_less_urgent(engine: Engine) -> None:
    await put(engine, job(1, priority=UPKEEP), job(2, priority=PEOPLE), job(3, priority=NORMAL))
    assert [numbers(claim) for claim in await take(engine, 2)] == [[2], [3]]


async def test_a_lane_is_as_urgent_as_its_most_urgent_job(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, priority=NORMAL))
    clock.advance(1.0)
    await put(engine, job(2, key="a", priority=UPKEEP), job(3, key="a", priority=PEOPLE))
    assert [numbers(claim) for claim in await take(engine)] == [[2, 3], [1]]


async def test_of_equally_urgent_lanes_the_longest_due_comes_first(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, delay=10.0))
    for n in (2, 3):
        clock.advance(4.0)
        await put(engine, job(n))
    clock.advance(4.0)
    await put(engine, job(4))
    assert [numbers(claim) for claim in await take(engine)] == [[2], [3], [1], [4]]


async def test_a_lane_that_goes_on_stands_behind_those_that_waited(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="busy"))
    claim = await take_one(engine)
    await put(engine, job(2, key="busy"))
    clock.advance(1.0)
    await put(engine, job(3, key="patient"))
    clock.advance(1.0)
    await engine.ack(claim)
    assert [numbers(each) for each in await take(engine)] == [[3], [2]]


async def test_the_limit_counts_lanes(engine: Engine) -> None:
    await put(engine, *[job(n, key=key) for key in "abc" for n in (1, 2)])
    assert [numbers(claim) for claim in await take(engine, 2)] == [[1, 2], [1, 2]]
    assert [claim.lane for claim in await take(engine, 2)] == ["c"]


async def test_a_claim_takes_no_more_background_lanes_than_it_may(engine: Engine) -> None:
    for n, priority in enumerate((UPKEEP, NORMAL, NORMAL, PEOPLE)):
        await put(engine, job(n, priority=priority))
    claims = await engine.claim(4, lease=60.0, worker="w", background=1)
    assert [(numbers(claim), claim.priority) for claim in claims] == [([3], PEOPLE), ([1], NORMAL)]


async def test_one_lane_of_the_class_that_is_first_comes_before_people(engine: Engine) -> None:
    for n, priority in enumerate((UPKEEP, UPKEEP, PEOPLE)):
        await put(engine, job(n, priority=priority))
    claims = await engine.claim(2, lease=60.0, worker="w", first=UPKEEP)
    assert [numbers(claim) for claim in claims] == [[0], [2]]


async def test_a_class_that_is_first_and_has_nothing_due_leaves_its_place_to_the_others(engine: Engine) -> None:
    await put(engine, job(1, priority=PEOPLE))
    claims = await engine.claim(1, lease=60.0, worker="w", first=UPKEEP)
    assert [numbers(claim) for claim in claims] == [[1]]


async def test_what_is_due_next_may_be_asked_of_some_classes_alone(engine: Engine) -> None:
    await put(engine, job(1, priority=NORMAL), job(2, priority=PEOPLE, delay=60.0))
    assert await engine.next_due() == 0.0
    assert await engine.next_due(classes=(PEOPLE,)) == 60.0
    assert await engine.next_due(classes=(UPKEEP,)) is None


# --- INTAKE


def received(n: int, key: str | None = None) -> NewJob:
    return job(n, kind=INTAKE_KIND, key=key, priority=INTAKE)


async def test_the_reserve_takes_intake_and_the_limit_all_else(engine: Engine) -> None:
    await put(engine, *[received(n) for n in (1, 2, 3)], *[job(n, priority=PEOPLE) for n in (4, 5, 6)])
    claims = await engine.claim(1, lease=60.0, worker="w", reserve=2)
    assert [(numbers(claim), claim.priority) for claim in claims] == [([1], INTAKE), ([2], INTAKE), ([4], PEOPLE)]


async def test_without_a_reserve_no_intake_is_claimed(engine: Engine) -> None:
    await put(engine, received(1))
    assert await engine.claim(10, lease=60.0, worker="w") == []
    assert await engine.next_due() == 0.0


async def test_a_reserve_alone_claims_nothing_else(engine: Engine) -> None:
    await put(engine, job(1, priority=PEOPLE), job(2), received(3))
    assert [numbers(claim) for claim in await engine.claim(0, lease=60.0, worker="w", reserve=8)] == [[3]]


async def test_what_shares_a_lane_with_intake_takes_none_of_the_reserve(engine: Engine) -> None:
    await put(engine, job(1, key="in|a"), received(2, key="in|a"))
    assert await engine.claim(0, lease=60.0, worker="w", reserve=8) == []
    [claim] = await engine.claim(1, lease=60.0, worker="w", reserve=8)
    assert (numbers(claim), claim.priority) == ([1], NORMAL)


# --- One job or several


async def test_a_claim_holds_one_job_and_charges_no_other(engine: Engine) -> None:
    await put(engine, *[job(n, key="a") for n in (1, 2, 3)])
    seen = []
    while claims := await engine.claim(10, lease=60.0, worker="w"):
        [claim] = claims
        seen.append((numbers(claim), attempts(claim), [each.attempt for each in await everything(engine)]))
        await engine.ack(claim)
    assert seen == [([1], [1], [0, 0, 1]), ([2], [1], [0, 1, 1]), ([3], [1], [1, 1, 1])]


async def test_a_claim_of_a_kind_that_is_run_together_holds_those_at_the_front(engine: Engine) -> None:
    await put(engine, *[job(n, key="a") for n in (1, 2)], job(3, key="a", kind="send"), job(4, key="a"))
    [claim] = await engine.claim(10, lease=60.0, worker="w", together=frozenset({"reply"}))
    assert numbers(claim) == [1, 2]
    await engine.ack(claim)
    [claim] = await engine.claim(10, lease=60.0, worker="w", together=frozenset({"reply"}))
    assert numbers(claim) == [3]


async def test_a_claim_of_many_holds_thirty_two(engine: Engine) -> None:
    await put(engine, *[job(n, key="a") for n in range(40)])
    [claim] = await engine.claim(10, lease=60.0, worker="w", together=TOGETHER)
    assert numbers(claim) == list(range(32))
