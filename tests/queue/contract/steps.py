"""The steps that the contract's tests are told in."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from convoq.errors import LeaseLost
from convoq.jobs import NORMAL, NewJob
from convoq.queue.base import Backend, Claim, JobFilter, JobRecord

LEASE = 30.0
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


async def put(backend: Backend, *jobs: NewJob) -> list[str]:
    """Enqueues and returns the ids."""
    return [result.job_id for result in await backend.enqueue(jobs, max_attempts=5)]


async def take(backend: Backend, limit: int = 100, *, lease: float = LEASE, worker: str = "w") -> list[Claim]:
    return await backend.claim(limit, lease=lease, worker=worker)


async def take_one(backend: Backend, *, lease: float = LEASE, worker: str = "w") -> Claim:
    """The one claim that there must be."""
    claims = await take(backend, lease=lease, worker=worker)
    assert len(claims) == 1, claims
    return claims[0]


def numbers(claim: Claim) -> list[int]:
    return [json.loads(each.payload)["n"] for each in claim.jobs]


def attempts(claim: Claim) -> list[int]:
    return [each.attempt for each in claim.jobs]


async def record(backend: Backend, job_id: str) -> JobRecord:
    found = await backend.get(job_id)
    assert found is not None, f"job {job_id} is gone"
    return found


async def everything(backend: Backend) -> list[JobRecord]:
    return await backend.list(EVERYTHING, limit=10_000)


async def fail(backend: Backend, times: int) -> None:
    """Runs the front of the only due lane `times` times without success, each one charged."""
    for _ in range(times):
        claim = await take_one(backend)
        await backend.nack(claim, delay=0.0, charged=claim.jobs)


async def mixed(backend: Backend) -> dict[str, str]:
    """One job of each sort, by name."""
    dead, done = await put(backend, job(1, key="a"), job(2, key="b", kind="send"))
    for claim in await take(backend):
        if claim.kind == "reply":
            await backend.bury(claim, claim.jobs, error="error 100% _sure_")
        else:
            await backend.ack(claim)
    cancelled, ready = await put(backend, job(3, key="a"), job(44, key="a", kind="send"))
    await backend.cancel(JobFilter(ids=(cancelled,)))
    return {dead: "dead", done: "done", cancelled: "cancelled", ready: "ready"}


async def takes_to_the_end(backend: Backend) -> list[int]:
    """Claims and acks until nothing is due; the jobs' numbers in the order they were handed out."""
    seen: list[int] = []
    while claims := await take(backend):
        for claim in claims:
            seen += numbers(claim)
            await backend.ack(claim)
    return seen


Verb = Callable[[Backend, Claim], Awaitable[object]]
VERBS: dict[str, Verb] = {
    "ack": lambda backend, claim: backend.ack(claim),
    "ack of some": lambda backend, claim: backend.ack(claim, claim.jobs[:1]),
    "ack of none": lambda backend, claim: backend.ack(claim, []),
    "nack": lambda backend, claim: backend.nack(claim, delay=60.0),
    "charged nack": lambda backend, claim: backend.nack(claim, delay=0.0, charged=claim.jobs, error="late"),
    "bury": lambda backend, claim: backend.bury(claim, claim.jobs, error="late"),
    "absorb": lambda backend, claim: backend.absorb(claim),
}


async def expect_lost(backend: Backend, verb: Verb, claim: Claim) -> None:
    """The verb raises LeaseLost, extend hands the claim back, and nothing at all changes."""
    before = await everything(backend)
    with pytest.raises(LeaseLost):
        await verb(backend, claim)
    assert await backend.extend([claim], lease=600.0) == [claim]
    assert await everything(backend) == before
