"""The queue's policy over the real engine: attempts, backoff, burial, and what stands in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from convoq.db import Database
from convoq.errors import DatabaseUnavailable, LeaseLost, RetryLater, Snooze, Unrecoverable
from convoq.jobs import INTAKE, INTAKE_KIND, NewJob
from convoq.queue.base import Claim, JobRecord, JobState
from convoq.queue.service import INTAKE_STARTS, LONGEST_ERROR, QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings import QueueSettings
from tests.clock import ManualClock

Events = list[MutableMapping[str, Any]]
SETTINGS = QueueSettings(visibility_timeout=30, max_attempts=4, backoff_base=2, backoff_cap=10)


class House:
    """A service whose chance is set by hand."""

    def __init__(self, database: Database) -> None:
        self.chance = 1.0
        self.engine = SqliteQueue(database)
        self.service = QueueService(self.engine, SETTINGS, random=lambda: self.chance)

    async def put(self, *keys: str | None, **options: Any) -> list[str]:
        jobs = [NewJob(kind="k", payload="{}", ordering_key=key, **options) for key in keys]
        return [result.job_id for result in await self.service.enqueue_many(jobs)]

    async def claim(self) -> Claim:
        [claim] = await self.service.claim(10, worker="w", together=frozenset({"k"}))
        return claim

    async def record(self, job_id: str) -> JobRecord:
        found = await self.engine.get(job_id)
        assert found is not None
        return found

    async def wait(self) -> float | None:
        return await self.engine.next_due()


@pytest.fixture
async def house(database: Database) -> Any:
    house = House(database)
    yield house
    await house.engine.close()


@pytest.fixture
def events() -> Iterator[Events]:
    with capture_logs() as captured:
        yield captured


BROKEN = RuntimeError("broken")


# --- Retries


@pytest.mark.parametrize(("attempt", "longest"), [(1, 2.0), (2, 4.0), (3, 8.0)])
async def test_the_longest_wait_doubles_with_each_attempt(
    house: House, clock: ManualClock, attempt: int, longest: float
) -> None:
    await house.put(None)
    for _ in range(attempt):
        clock.advance(100)
        claim = await house.claim()
        await house.service.fail(claim, BROKEN, claim.jobs)
    assert await house.wait() == longest


async def test_no_wait_is_longer_than_the_cap(house: House, clock: ManualClock) -> None:
    await house.put(None, max_attempts=100)
    for _ in range(20):
        clock.advance(100)
        claim = await house.claim()
        await house.service.fail(claim, BROKEN, claim.jobs)
    assert await house.wait() == 10.0


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 0.0), (0.25, 0.5), (0.999, 1.998)])
async def test_a_wait_is_anything_from_nothing_to_the_longest(house: House, chance: float, wait: float) -> None:
    house.chance = chance
    await house.put(None)
    claim = await house.claim()
    await house.service.fail(claim, BROKEN, claim.jobs)
    assert await house.wait() == wait


async def test_retry_later_waits_as_long_as_it_says(house: House) -> None:
    await house.put(None)
    claim = await house.claim()
    await house.service.fail(claim, RetryLater(77.5), claim.jobs)
    assert await house.wait() == 77.5


async def test_retry_later_costs_an_attempt(house: House, clock: ManualClock) -> None:
    [job_id] = await house.put(None)
    for attempt in range(1, 5):
        claim = await house.claim()
        assert claim.jobs[0].attempt == attempt
        await house.service.fail(claim, RetryLater(1), claim.jobs)
        clock.advance(1)
    assert (await house.record(job_id)).state is JobState.DEAD


async def test_snooze_costs_no_attempt(house: House, clock: ManualClock) -> None:
    await house.put(None)
    for _ in range(10):
        claim = await house.claim()
        assert claim.jobs[0].attempt == 1
        await house.service.fail(claim, Snooze(5), claim.jobs)
        assert await house.wait() == 5.0
        clock.advance(5)


@pytest.mark.parametrize(
    ("error", "reason"), [(RetryLater(60, "the model is down"), "the model is down"), (BROKEN, "RuntimeError: broken")]
)
async def test_a_job_that_is_tried_again_waits_for_its_reason_in_its_own_words(
    house: House, events: Events, error: Exception, reason: str
) -> None:
    [job_id] = await house.put("a")
    claim = await house.claim()
    await house.service.fail(claim, error, claim.jobs)
    assert (await house.record(job_id)).reason == reason
    assert [event["error"] for event in events if event["event"] == "job.retried"] == [reason]


async def test_a_snooze_leaves_its_reason_with_the_job_and_no_error(house: House) -> None:
    [job_id] = await house.put(None)
    await house.service.fail(claim := await house.claim(), Snooze(5, "the model is\ndown \ud800"), claim.jobs)
    record = await house.record(job_id)
    assert (record.reason, record.error) == ("the model is down \\ud800", None)


async def test_snooze_on_the_last_attempt_buries_nothing(house: House, clock: ManualClock) -> None:
    [job_id] = await house.put(None, max_attempts=1)
    claim = await house.claim()
    await house.service.fail(claim, Snooze(5), claim.jobs)
    assert (await house.record(job_id)).state is JobState.READY


async def test_a_release_costs_no_attempt_and_no_wait(house: House) -> None:
    await house.put(None)
    await house.service.release(await house.claim())
    assert (await house.claim()).jobs[0].attempt == 1


async def test_only_what_was_run_is_charged(house: House, clock: ManualClock) -> None:
    ids = await house.put("a", "a", "a")
    claim = await house.claim()
    await house.service.fail(claim, BROKEN, claim.jobs[1:2])
    assert [(await house.record(job_id)).attempt for job_id in ids] == [0, 1, 0]


@pytest.mark.parametrize("error", [BROKEN, RetryLater(60), Snooze(60), DatabaseUnavailable("full")], ids=repr)
async def test_what_comes_in_waits_for_a_second_at_most(house: House, error: Exception) -> None:
    job = NewJob(kind=INTAKE_KIND, payload="{}", ordering_key="in|ann", priority=INTAKE)
    await house.service.enqueue(job)
    [claim] = await house.service.claim(0, worker="w", reserve=1)
    await house.service.fail(claim, error, claim.jobs)
    assert await house.wait() == 1.0


async def test_what_is_put_aside_holds_up_nothing_and_costs_no_attempt(house: House) -> None:
    [aside, behind] = await house.put("a", "a")
    [claim] = await house.service.claim(10, worker="w")
    await house.service.put_aside(claim, 60.0, reason="not here")
    assert [job.id for job in (await house.claim()).jobs] == [behind]
    record = await house.record(aside)
    assert (record.attempt, record.reason, record.scheduled) == (0, "not here", True)


# --- Burials


async def test_the_last_attempt_buries(house: House, clock: ManualClock) -> None:
    [job_id] = await house.put(None)
    for _ in range(SETTINGS.max_attempts):
        clock.advance(100)
        claim = await house.claim()
        assert (await house.record(job_id)).state is JobState.READY
        await house.service.fail(claim, BROKEN, claim.jobs)
    assert (await house.record(job_id)).state is JobState.DEAD


async def test_a_jobs_own_limit_goes_before_the_queues(house: House) -> None:
    [job_id] = await house.put(None, max_attempts=1)
    claim = await house.claim()
    await house.service.fail(claim, BROKEN, claim.jobs)
    assert (await house.record(job_id)).state is JobState.DEAD


async def test_unrecoverable_buries_on_the_first_attempt(house: House) -> None:
    [job_id] = await house.put(None)
    claim = await house.claim()
    await house.service.fail(claim, Unrecoverable("no such order"), claim.jobs)
    record = await house.record(job_id)
    assert (record.state, record.error) == (JobState.DEAD, "no such order")


async def test_a_burial_takes_no_neighbour_with_it(house: House) -> None:
    ids = await house.put("a", "a", "a")
    claim = await house.claim()
    await house.service.fail(claim, Unrecoverable("bad"), claim.jobs[:1])
    assert [(await house.record(job_id)).state for job_id in ids] == [JobState.DEAD, JobState.READY, JobState.READY]
    assert [(job.id, job.attempt) for job in (await house.claim()).jobs] == [(ids[1], 1), (ids[2], 1)]


async def test_a_job_that_killed_its_worker_on_every_start_is_buried_unrun(house: House, clock: ManualClock) -> None:
    [job_id] = await house.put(None, max_attempts=2)
    for _ in range(2):
        await house.claim()
        clock.advance(31)
    assert await house.service.claim(10, worker="w") == []
    record = await house.record(job_id)
    assert (record.state, record.error) == (JobState.DEAD, "started 2 times, and no start came to an end")


async def taken_in(house: House, clock: ManualClock, deaths: int) -> Claim:
    """Of one message whose worker died so many times before it was on record."""
    job = NewJob(kind=INTAKE_KIND, payload="{}", ordering_key="in|ann", priority=INTAKE, max_attempts=3)
    await house.service.enqueue(job)
    for _ in range(deaths):
        assert await house.service.claim(0, worker="w", reserve=1)
        clock.advance(31)
    [claim] = await house.service.claim(0, worker="w", reserve=1)
    return replace(claim, crashes=deaths)


async def test_what_comes_in_is_not_buried_for_the_deaths_of_its_workers(house: House, clock: ManualClock) -> None:
    claim = await taken_in(house, clock, INTAKE_STARTS - 1)
    clock.advance(31)
    assert await house.service.claim(0, worker="w", reserve=1) == []
    record = await house.record(claim.jobs[0].id)
    assert (record.state, record.error) == (JobState.DEAD, "started 20 times, and no start came to an end")


async def test_what_comes_in_fails_as_often_as_others_whatever_its_workers_died_of(
    house: House, clock: ManualClock
) -> None:
    claim = await taken_in(house, clock, 5)
    await house.service.fail(claim, BROKEN, claim.jobs)
    assert (await house.record(claim.jobs[0].id)).state is JobState.READY


async def test_what_stands_behind_a_spent_job_is_claimed_next(house: House, clock: ManualClock) -> None:
    [_, behind] = [*await house.put("a", max_attempts=1), *await house.put("a")]
    await house.claim()
    clock.advance(31)
    claims = [claim for _ in range(2) for claim in await house.service.claim(10, worker="w")]
    assert [job.id for claim in claims for job in claim.jobs] == [behind]


async def test_a_late_job_is_skipped_unrun_and_said(house: House, clock: ManualClock, events: Events) -> None:
    [late] = await house.put("a", start_within=60)
    clock.advance(61)
    [behind] = await house.put("a")
    assert await house.service.claim(10, worker="w") == []
    record = await house.record(late)
    assert (record.state, record.error) == (JobState.CANCELLED, "no worker began it in time")
    [said] = [event for event in events if event["event"] == "job.skipped"]
    assert (said["log_level"], said["jobs"]) == ("warning", [late])
    assert [job.id for job in (await house.claim()).jobs] == [behind]


async def test_a_spent_claim_that_is_lost_meanwhile_is_left_alone(
    house: House, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    [spent] = await house.put(None, max_attempts=1)
    await house.claim()
    clock.advance(31)
    [good] = await house.put(None)
    original = house.engine.claim

    async def claim_and_oversleep(limit: int, *, lease: float, **options: Any) -> list[Claim]:
        claims = await original(limit, lease=lease, **options)
        clock.advance(31)
        await original(1, lease=lease, worker="another")  # takes the spent one, which is due longest
        return claims

    monkeypatch.setattr(house.engine, "claim", claim_and_oversleep)
    claims = await house.service.claim(10, worker="w")
    assert [job.id for claim in claims for job in claim.jobs] == [good]
    assert (await house.record(spent)).state is JobState.READY


async def spent_late_and_good(house: House, clock: ManualClock) -> tuple[str, str, str]:
    """Three jobs in lanes of their own, of which a claim must bury the first and skip the second."""
    [spent] = await house.put("a", max_attempts=1)
    await house.claim()
    clock.advance(31)
    [late] = await house.put("b", start_within=1)
    clock.advance(2)
    [good] = await house.put("c")
    return spent, late, good


async def test_what_must_not_run_in_several_lanes_ends_at_once_and_not_one_after_the_other(
    house: House, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.Barrier(2)

    def together(verb: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def end(*args: object, **options: object) -> None:
            async with asyncio.timeout(5):
                await both.wait()
            await verb(*args, **options)

        return end

    spent, late, good = await spent_late_and_good(house, clock)
    for name in ("skip", "bury"):
        monkeypatch.setattr(house.engine, name, together(getattr(house.engine, name)))
    assert [job.id for job in (await house.claim()).jobs] == [good]
    assert [(await house.record(job_id)).state for job_id in (spent, late)] == [JobState.DEAD, JobState.CANCELLED]


async def test_what_cannot_be_ended_takes_no_other_claim_with_it(
    house: House, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    def refuse(*_: object) -> list[NewJob]:
        raise ZeroDivisionError("a bug")

    spent, late, good = await spent_late_and_good(house, clock)
    monkeypatch.setattr(house.engine, "_settle", refuse)
    assert [job.id for job in (await house.claim()).jobs] == [good]
    assert [(await house.record(job_id)).state for job_id in (spent, late)] == [JobState.READY, JobState.READY]
    told = [(event["event"], event["log_level"], event["jobs"]) for event in events if "failed" in event["event"]]
    assert sorted(told) == [("burial.failed", "error", [spent]), ("skip.failed", "error", [late])]


async def test_the_death_of_a_worker_buries_only_what_had_started(house: House, clock: ManualClock) -> None:
    ids = await house.put(*["a"] * 3, max_attempts=1)
    await house.service.claim(10, worker="dead")
    clock.advance(31)
    assert await house.service.claim(10, worker="w") == []
    [claim] = await house.service.claim(10, worker="w")
    states = [(await house.record(job_id)).state for job_id in ids]
    assert states == [JobState.DEAD, JobState.READY, JobState.READY]
    assert [(job.id, job.attempt) for job in claim.jobs] == [(ids[1], 1)]


# --- Late workers


@pytest.mark.parametrize(
    "error", [BROKEN, Snooze(1), RetryLater(1), Unrecoverable("no")], ids=lambda e: type(e).__name__
)
async def test_a_late_failure_changes_nothing(house: House, clock: ManualClock, error: Exception) -> None:
    [job_id] = await house.put(None)
    late = await house.claim()
    clock.advance(31)
    await house.claim()
    before = await house.record(job_id)
    with pytest.raises(LeaseLost):
        await house.service.fail(late, error, late.jobs)
    assert await house.record(job_id) == before


# --- What operators read


async def test_a_failure_keeps_its_traceback(house: House) -> None:
    [job_id] = await house.put(None)
    claim = await house.claim()
    try:
        raise BROKEN
    except RuntimeError as error:
        await house.service.fail(claim, error, claim.jobs)
    error_text = (await house.record(job_id)).error or ""
    assert error_text.startswith("Traceback")
    assert error_text.rstrip().endswith("RuntimeError: broken")


async def test_an_expected_outcome_keeps_only_its_words(house: House) -> None:
    [job_id] = await house.put(None)
    claim = await house.claim()
    await house.service.fail(claim, RetryLater(3, "the model is busy"), claim.jobs)
    assert (await house.record(job_id)).error == "the model is busy"


async def test_a_long_traceback_keeps_its_end(house: House) -> None:
    [job_id] = await house.put(None)
    claim = await house.claim()
    await house.service.fail(claim, RuntimeError("x" * 20_000 + " the end"), claim.jobs)
    text = (await house.record(job_id)).error or ""
    assert len(text) == LONGEST_ERROR
    assert text.rstrip().endswith("the end")


async def test_the_log_says_how_each_claim_ended(house: House, clock: ManualClock, events: Events) -> None:
    await house.put(None)
    for error in (Snooze(1, "later"), RetryLater(1, "busy"), Unrecoverable("no")):
        claim = await house.claim()
        await house.service.fail(claim, error, claim.jobs)
        clock.advance(1)
    await house.put(None)
    await house.service.release(await house.claim())
    await house.service.ack(await house.claim())
    told = [(event["event"], event["log_level"]) for event in events if event["event"] != "job.enqueued"]
    assert told == [
        ("job.snoozed", "info"),
        ("job.retried", "warning"),
        ("job.buried", "error"),
        ("job.released", "info"),
        ("job.finished", "info"),
    ]


async def test_a_burial_is_logged_with_its_last_line_only(house: House, events: Events) -> None:
    await house.put(None, max_attempts=1)
    claim = await house.claim()
    await house.service.fail(claim, BROKEN, claim.jobs)
    [buried] = [event for event in events if event["event"] == "job.buried"]
    assert buried["error"] == "RuntimeError: broken"


async def test_a_duplicate_is_told_and_not_stored(house: House) -> None:
    job = NewJob(kind="k", payload="{}", dedup_key="once")
    first, second = await house.service.enqueue(job), await house.service.enqueue(job)
    assert (second.job_id, second.duplicate, first.duplicate) == (first.job_id, True, False)
