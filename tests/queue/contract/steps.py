"""The steps that the contract's tests are told in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from convoq.errors import LeaseLost
from convoq.jobs import NORMAL, NewJob
from convoq.queue.base import Claim, JobFilter, JobRecord
from tests.queue.conftest import Engine, Opened

LEASE = 30.0
TOGETHER = frozenset({"reply", "send", "receive_message"})  #: kinds of which these steps claim many at a time
DAY = 86_400.0
PROMPTLY = 5.0  #: seconds; far below the timeouts that the waits under test are given
LONG = 60.0
EVERYTHING = JobFilter()


def job(
    n: int = 0,
    *,
    kind: str = "reply",
    key: str | None = None,
    dedup: str | None = None,
    delay: float = 0.0,
    priority: int = NORMAL,
    max_attempts: int | None = None,
) -> NewJob:
    return NewJob(
        kind=kind,
        payload=json.dumps({"n": n}),
        ordering_key=key,
        dedup_key=dedup,
        delay=delay,
        priority=priority,
        max_attempts=max_attempts,
    )


async def put(engine: Engine, *jobs: NewJob) -> list[str]:
    """Enqueues and returns the ids."""
    return [result.job_id for result in await engine.enqueue(jobs, max_attempts=5)]


def turn(n: int = 0, *, key: str = "a", kind: str = "turn") -> NewJob:
    """As the store enqueues it."""
    return job(n, kind=kind, key=key, max_attempts=9)


async def follow(store: Opened, *jobs: NewJob) -> list[int]:
    """Enqueues them from transactions of the store's; how many each of these has added."""
    added = []
    for new in jobs:
        follow_ups = store.follow_ups()
        await store.database.write(follow_ups.enqueue, new)
        added.append(await follow_ups.send())
    return added


async def kick(store: Opened, ordering_key: str) -> None:
    follow_ups = store.follow_ups()
    await store.database.write(follow_ups.kick, ordering_key)
    await follow_ups.send()


async def take(engine: Engine, limit: int = 100, *, lease: float = LEASE, worker: str = "w") -> list[Claim]:
    return await engine.claim(limit, lease=lease, worker=worker, reserve=limit, together=TOGETHER)


async def take_one(engine: Engine, *, lease: float = LEASE, worker: str = "w") -> Claim:
    """The one claim that there must be."""
    claims = await take(engine, lease=lease, worker=worker)
    assert len(claims) == 1, claims
    return claims[0]


def numbers(claim: Claim) -> list[int]:
    return [json.loads(each.payload)["n"] for each in claim.jobs]


def attempts(claim: Claim) -> list[int]:
    return [each.attempt for each in claim.jobs]


async def record(engine: Engine, job_id: str) -> JobRecord:
    found = await engine.get(job_id)
    assert found is not None, f"job {job_id} is gone"
    return found


async def everything(engine: Engine) -> list[JobRecord]:
    return await engine.list(EVERYTHING, limit=10_000)


async def fail(engine: Engine, times: int) -> None:
    """Runs the front of the only due lane `times` times without success, each one charged."""
    for _ in range(times):
        claim = await take_one(engine)
        await engine.nack(claim, delay=0.0, charged=claim.jobs)


async def mixed(engine: Engine) -> dict[str, str]:
    """One job of each sort, by name."""
    dead, done = await put(engine, job(1, key="a"), job(2, key="b", kind="send"))
    for claim in await take(engine):
        if claim.kind == "reply":
            await engine.bury(claim, claim.jobs, error="error 100% _sure_")
        else:
            await engine.ack(claim)
    cancelled, ready = await put(engine, job(3, key="a"), job(44, key="a", kind="send"))
    await engine.cancel(JobFilter(ids=(cancelled,)))
    return {dead: "dead", done: "done", cancelled: "cancelled", ready: "ready"}


async def takes_to_the_end(engine: Engine) -> list[int]:
    """Claims and acks until nothing is due; the jobs' numbers in the order they were handed out."""
    seen: list[int] = []
    while claims := await take(engine):
        for claim in claims:
            seen += numbers(claim)
            await engine.ack(claim)
    return seen


Verb = Callable[[Engine, Claim], Awaitable[object]]
VERBS: dict[str, Verb] = {
    "ack": lambda engine, claim: engine.ack(claim),
    "forgetful ack": lambda engine, claim: engine.ack(claim, forget=True),
    "advance": lambda engine, claim: engine.advance(claim),
    "nack": lambda engine, claim: engine.nack(claim, delay=60.0),
    "charged nack": lambda engine, claim: engine.nack(claim, delay=0.0, charged=claim.jobs, error="late"),
    "skip": lambda engine, claim: engine.skip(claim, claim.jobs, reason="late"),
    "bury": lambda engine, claim: engine.bury(claim, claim.jobs, error="late"),
}


async def expect_lost(engine: Engine, verb: Verb, claim: Claim) -> None:
    """The verb raises LeaseLost, extend hands the claim back, and nothing at all changes."""
    before = await everything(engine)
    with pytest.raises(LeaseLost):
        await verb(engine, claim)
    assert engine.extend([claim], lease=600.0) == [claim]
    assert await everything(engine) == before


async def recovered(engine: Engine) -> int:
    """What is freed once a worker's death is known: a server learns of it a moment after the process is gone."""
    async with asyncio.timeout(LONG):
        while not (freed := await engine.recover()):  # noqa: ASYNC110 # nothing tells when the server knows
            await asyncio.sleep(0.01)  # between two looks
    return freed
