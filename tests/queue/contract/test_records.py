"""What operators see: records whole, lists in pages, filters whose every condition holds."""

from __future__ import annotations

import pytest

from convoq.jobs import PEOPLE
from convoq.queue.base import Backend, JobFilter, JobRecord, State
from tests.clock import ManualClock
from tests.queue.contract.steps import (
    EVERYTHING,
    job,
    mixed,
    put,
    record,
    take,
    take_one,
    takes_to_the_end,
)


async def test_a_record_tells_a_waiting_job_whole(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(1, key="a", dedup="k", priority=PEOPLE, max_attempts=4))
    assert await record(backend, job_id) == JobRecord(
        id=job_id,
        lane="a",
        kind="reply",
        payload='{"n": 1}',
        state=State.READY,
        attempt=0,
        max_attempts=4,
        priority=PEOPLE,
        enqueued_at=clock.now(),
        claimed_at=None,
        finished_at=None,
        due_at=clock.now(),
        running=False,
        worker=None,
        error=None,
        dedup_key="k",
    )


async def test_a_record_tells_why_its_lane_waits_until_the_next_claim(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(1, key="a"))
    [claim] = await take(backend)
    await backend.nack(claim, delay=30.0, reason="the model is down")
    waiting = await backend.get(job_id)
    clock.advance(30.0)
    await take(backend)
    claimed = await backend.get(job_id)
    assert waiting is not None
    assert claimed is not None
    assert (waiting.reason, claimed.reason) == ("the model is down", None)


async def test_a_record_tells_who_runs_a_job_since_when(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job())
    clock.advance(3.0)
    await take_one(backend, worker="worker-7")
    got = await record(backend, job_id)
    assert (got.running, got.worker, got.claimed_at, got.state) == (True, "worker-7", clock.now(), State.READY)


async def test_a_record_tells_when_a_delayed_job_is_due(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(delay=12.5))
    assert (await record(backend, job_id)).due_at == clock.now() + 12_500


async def test_a_record_of_a_finished_job_is_due_no_more(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    await takes_to_the_end(backend)
    got = await record(backend, job_id)
    assert (got.due_at, got.running, got.attempt) == (None, False, 1)


@pytest.mark.parametrize("job_id", ["", "nope", "0", "-1", "²", "9" * 40, "1.0", "' OR 1=1", "\u0000"])
async def test_an_id_that_no_job_has_finds_nothing(backend: Backend, job_id: str) -> None:
    await put(backend, job())
    assert await backend.get(job_id) is None
    assert await backend.list(JobFilter(ids=(job_id,))) == []
    assert await backend.cancel(JobFilter(ids=(job_id,))) == 0


async def test_list_is_newest_first(backend: Backend) -> None:
    ids = await put(backend, *[job(n) for n in range(4)])
    assert [each.id for each in await backend.list(EVERYTHING)] == ids[::-1]


async def test_list_pages_without_gap_or_overlap(backend: Backend) -> None:
    ids = await put(backend, *[job(n) for n in range(7)])
    pages: list[list[str]] = []
    last: str | None = None
    while page := await backend.list(EVERYTHING, limit=3, before=last):
        pages.append([each.id for each in page])
        last = page[-1].id
        await put(backend, job(99))  # what arrives meanwhile shifts no later page
    assert pages == [ids[6:3:-1], ids[3:0:-1], ids[0:1]]


async def test_list_without_a_limit_shows_fifty(backend: Backend) -> None:
    await put(backend, *[job(n) for n in range(60)])
    assert len(await backend.list(EVERYTHING)) == 50


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (JobFilter(), {"dead", "done", "cancelled", "ready"}),
        (JobFilter(kinds=("send",)), {"done", "ready"}),
        (JobFilter(kinds=("send", "reply")), {"dead", "done", "cancelled", "ready"}),
        (JobFilter(kinds=("unknown",)), set()),
        (JobFilter(kinds=()), set()),
        (JobFilter(ids=()), set()),
        (JobFilter(states=()), set()),
        (JobFilter(states=(State.DEAD,)), {"dead"}),
        (JobFilter(states=(State.DONE, State.CANCELLED)), {"done", "cancelled"}),
        (JobFilter(lane="a"), {"dead", "cancelled", "ready"}),
        (JobFilter(lane="nowhere"), set()),
        (JobFilter(lane="a", kinds=("send",)), {"ready"}),
        (JobFilter(text="44"), {"ready"}),
        (JobFilter(text="100% _sure"), {"dead"}),
        (JobFilter(text="%"), {"dead"}),
        (JobFilter(text="'"), set()),
        (JobFilter(text="4_"), set()),
        (JobFilter(states=(State.READY,), text="error"), set()),
    ],
    ids=str,
)
async def test_every_given_condition_of_a_filter_holds(backend: Backend, where: JobFilter, expected: set[str]) -> None:
    names = await mixed(backend)
    assert {names[each.id] for each in await backend.list(where)} == expected
    assert await backend.count(where) == len(expected)


async def test_a_filter_of_ids_finds_just_them(backend: Backend) -> None:
    ids = await put(backend, *[job(n) for n in range(4)])
    assert [each.id for each in await backend.list(JobFilter(ids=(ids[0], ids[2], "nope")))] == [ids[2], ids[0]]


async def test_count_is_not_limited_to_a_page(backend: Backend) -> None:
    await put(backend, *[job(n) for n in range(60)])
    assert await backend.count(EVERYTHING) == 60
