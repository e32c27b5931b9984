"""Whatever ends a job otherwise than by running settles its effects, and what is due instead, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.jobs import NewJob
from convoq.queue.base import EndedJob, Ending, JobFilter
from tests.clock import ManualClock
from tests.queue.conftest import Engine, Opened, OpenEngine
from tests.queue.contract.steps import LEASE, LONG, PROMPTLY, everything, job, numbers, put, take, take_one

ALL = JobFilter()
REPLACEMENT = NewJob(kind="turn", payload='{"n": 99}', ordering_key="b", max_attempts=3)


async def bury(engine: Engine) -> None:
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs, error="broken")


async def cancel(engine: Engine) -> None:
    await engine.cancel(JobFilter(kinds=("reply",)))


async def skip(engine: Engine) -> None:
    claim = await take_one(engine)
    await engine.skip(claim, claim.jobs, reason="late")


async def discard(engine: Engine) -> None:
    await engine.discard(JobFilter(kinds=("reply",)))


async def retry(engine: Engine) -> None:
    await engine.retry_dead(ALL)


async def snooze(engine: Engine) -> None:
    await engine.nack(await take_one(engine), delay=60.0)


async def run_now(engine: Engine) -> None:
    await engine.run_now(ALL)


VERBS: dict[Ending, tuple[list[Callable[[Engine], Awaitable[None]]], Callable[[Engine], Awaitable[None]], str | None]]
VERBS = {
    Ending.BURIED: ([], bury, "broken"),
    Ending.CANCELLED: ([], cancel, None),
    Ending.SKIPPED: ([], skip, "late"),
    Ending.DISCARDED: ([bury], discard, "broken"),
    Ending.RETRIED: ([bury], retry, "broken"),
    Ending.RUN_NOW: ([snooze], run_now, None),
}


@pytest.fixture(params=list(VERBS), ids=str)
def ending(request: pytest.FixtureRequest) -> Ending:
    return Ending(request.param)


async def prepared(store: Opened, ending: Ending) -> tuple[str, Callable[[Engine], Awaitable[None]]]:
    """The id of the one job there is, and what ends or revives it."""
    [job_id] = await put(store.engine, job(1, key="a"))
    before, verb, _ = VERBS[ending]
    for step in before:
        await step(store.engine)
    store.settler.told.clear()
    return job_id, verb


async def test_what_ends_is_told_with_all_that_its_effects_are_found_by(store: Opened, ending: Ending) -> None:
    job_id, verb = await prepared(store, ending)
    await verb(store.engine)
    error = VERBS[ending][2]
    assert store.settler.told == [(ending, [EndedJob(id=job_id, kind="reply", payload='{"n": 1}', error=error)])]


async def test_what_is_due_instead_is_enqueued_with_it(store: Opened, ending: Ending) -> None:
    _, verb = await prepared(store, ending)
    store.settler.due = [REPLACEMENT, REPLACEMENT]
    await verb(store.engine)
    claims = {claim.lane: claim for claim in await take(store.engine)}
    assert (numbers(claims["b"]), claims["b"].jobs[0].max_attempts) == ([99], 3)


async def test_the_workers_are_woken_for_it(store: Opened, open_engine: OpenEngine, ending: Ending) -> None:
    _, verb = await prepared(store, ending)
    worker = (await open_engine()).engine
    await worker.register("w")
    store.settler.due = [REPLACEMENT]
    waiting = asyncio.create_task(worker.wait(LONG, classes=(REPLACEMENT.priority,)))
    await asyncio.sleep(0.05)  # it is in its wait
    await verb(store.engine)
    await asyncio.wait_for(waiting, PROMPTLY)


async def test_what_cannot_be_settled_does_not_end(
    store: Opened, ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, verb = await prepared(store, ending)

    def refuse(tx: Transaction, ending: Ending, jobs: Sequence[EndedJob]) -> Sequence[NewJob]:
        raise ZeroDivisionError

    monkeypatch.setattr(store.engine, "_settle", refuse)
    before = await everything(store.engine)
    with pytest.raises(ZeroDivisionError):
        await verb(store.engine)
    after = await everything(store.engine)
    assert [(each.state, each.error) for each in after] == [(each.state, each.error) for each in before]


async def test_a_late_burial_settles_nothing(store: Opened, clock: ManualClock) -> None:
    await put(store.engine, job(1, key="a"))
    late = await take_one(store.engine)
    clock.advance(LEASE)
    await take_one(store.engine)
    with pytest.raises(LeaseLost):
        await store.engine.bury(late, late.jobs, error="late")
    assert store.settler.told == []


async def test_only_what_a_claim_still_has_is_buried_with_it(store: Opened, clock: ManualClock) -> None:
    [first, second] = await put(store.engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(store.engine)
    clock.advance(LEASE)
    await store.engine.cancel(JobFilter(ids=(first,)))
    store.settler.told.clear()
    await store.engine.bury(claim, claim.jobs, error="no")
    assert [(ending, [each.id for each in jobs]) for ending, jobs in store.settler.told] == [(Ending.BURIED, [second])]


async def test_a_retry_ends_the_wait_of_its_lane(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, key="a", kind="send"))
    await bury(store.engine)
    await store.engine.nack(await take_one(store.engine), delay=3600.0, reason="busy")
    await store.engine.retry_dead(ALL)
    assert numbers(await take_one(store.engine)) == [1]


async def test_a_retry_leaves_a_claimed_lane_alone(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, key="a", kind="send"))
    await bury(store.engine)
    claim = await take_one(store.engine)
    await store.engine.retry_dead(ALL)
    assert await take(store.engine) == []
    await store.engine.ack(claim)
    assert numbers(await take_one(store.engine)) == [1]


async def test_a_retry_does_not_wait_out_what_the_claim_of_its_lane_goes_back_with(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, key="a", kind="send"))
    await bury(store.engine)
    claim = await take_one(store.engine)
    await store.engine.retry_dead(ALL)
    await store.engine.nack(claim, delay=3600.0, reason="busy")
    assert numbers(await take_one(store.engine)) == [1]
