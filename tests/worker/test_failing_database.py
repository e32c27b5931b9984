"""A database that is locked or damaged: which errors a worker outlives and which end it."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.queue.base import Claim
from tests.worker.harness import Gate, House, nothing


async def test_a_database_that_is_locked_for_a_while_does_not_end_the_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.working(nothing) as running:
        refusals = iter([DatabaseUnavailable("locked")] * 2)
        claim = running.engine.claim

        async def sometimes(limit: int, **options: Any) -> list[Claim]:
            for refusal in refusals:
                raise refusal
            return await claim(limit, **options)

        monkeypatch.setattr(running.engine, "claim", sometimes)
        await house.until_done(*await house.put(None))


async def test_a_look_that_fails_is_not_repeated_without_pause(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0
    async with house.working(nothing) as running:
        claim = running.engine.claim

        async def counted(limit: int, **options: Any) -> list[Claim]:
            nonlocal claims
            claims += 1
            return await claim(limit, **options)

        async def broken(timeout: float, **_: object) -> None:
            raise DatabaseUnavailable("disk")

        monkeypatch.setattr(running.engine, "claim", counted)
        monkeypatch.setattr(running.engine, "wait", broken)
        await house.put(None)  # ends the wait it is in
        await asyncio.sleep(0.5)
        assert not running.task.done()
    assert claims < 10


async def test_what_refuses_the_database_ends_the_worker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.working(nothing) as running:

        async def refused(timeout: float, **_: object) -> None:
            raise DatabaseRefused("damaged")

        monkeypatch.setattr(running.engine, "wait", refused)
        await house.put(None)
        with pytest.raises(DatabaseRefused):
            await running.ended()


async def test_care_goes_on_after_an_error_of_the_system(
    house: House, monkeypatch: pytest.MonkeyPatch, events: list[MutableMapping[str, Any]]
) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, lease=0.3) as running:
        refusals = iter([OSError(24, "Too many open files")])

        async def recover() -> int:
            for refusal in refusals:
                raise refusal
            return 0

        monkeypatch.setattr(running.engine, "recover", recover)
        await gate.holds()
        await asyncio.sleep(0.7)
        assert await house.due_in() > 0  # its lease is still renewed
        gate.open.set()
        await house.until_done(job_id)
    assert "care.failed" in [event["event"] for event in events]


async def test_a_worker_without_care_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.working(nothing) as running:

        async def recover() -> int:
            raise DatabaseRefused("damaged")

        monkeypatch.setattr(running.engine, "recover", recover)
        with pytest.raises(DatabaseRefused):
            await running.ended()
