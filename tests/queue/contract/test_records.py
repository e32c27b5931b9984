"""What operators see: records whole, lists in pages, filters whose every condition holds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from convoq.jobs import PEOPLE
from convoq.queue.base import JobFilter, JobRecord, JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
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


async def test_a_record_tells_a_waiting_job_whole(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job(1, key="a", dedup="k", priority=PEOPLE, max_attempts=4))
    assert await record(engine, job_id) == JobRecord(
        id=job_id,
        ordering_key="a",
        kind="reply",
        payload='{"n": 1}',
        state=JobState.READY,
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


async def test_a_record_tells_why_its_lane_waits_until_the_next_claim(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job(1, key="a"))
    [claim] = await take(engine)
    await engine.nack(claim, delay=30.0, reason="the model is down")
    waiting = await engine.get(job_id)
    clock.advance(30.0)
    await take(engine)
    claimed = await engine.get(job_id)
    assert waiting is not None
    assert claimed is not None
    assert (waiting.reason, claimed.reason) == ("the model is down", None)


async def test_a_record_tells_who_runs_a_job_since_when(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job())
    clock.advance(3.0)
    await take_one(engine, worker="worker-7")
    got = await record(engine, job_id)
    assert (got.running, got.worker, got.claimed_at, got.state) == (True, "worker-7", clock.now(), JobState.READY)


async def test_a_record_tells_when_a_delayed_job_is_due(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job(delay=12.5))
    assert (await record(engine, job_id)).due_at == clock.now() + 12_500


async def test_a_record_of_a_finished_job_is_due_no_more(engine: Engine) -> None:
    [job_id] = await put(engine, job())
    await takes_to_the_end(engine)
    got = await record(engine, job_id)
    assert (got.due_at, got.running, got.attempt) == (None, False, 1)


@pytest.mark.parametrize("job_id", ["", "nope", "0", "-1", "²", "9" * 40, "1.0", "' OR 1=1", "\u0000"])
async def test_an_id_that_no_job_has_finds_nothing(engine: Engine, job_id: str) -> None:
    await put(engine, job())
    assert await engine.get(job_id) is None
    assert await engine.list(JobFilter(ids=(job_id,))) == []
    assert await engine.cancel(JobFilter(ids=(job_id,))) == 0


async def test_list_is_newest_first(engine: Engine) -> None:
    ids = await put(engine, *[job(n) for n in range(4)])
    assert [each.id for each in await engine.list(EVERYTHING)] == ids[::-1]


@pytest.mark.parametrize("where", [EVERYTHING, JobFilter(text='"n"')], ids=["everything", "text"])
async def test_list_pages_without_gap_or_overlap(engine: Engine, where: JobFilter) -> None:
    ids = await put(engine, *[job(n) for n in range(7)])
    pages: list[list[str]] = []
    last: str | None = None
    while page := await engine.list(where, limit=3, before=last):
        pages.append([each.id for each in page])
        last = page[-1].id
        await put(engine, job(99))  # what arrives meanwhile shifts no later page
    assert pages == [ids[6:3:-1], ids[3:0:-1], ids[0:1]]


async def test_list_without_a_limit_shows_fifty(engine: Engine) -> None:
    await put(engine, *[job(n) for n in range(60)])
    assert len(await engine.list(EVERYTHING)) == 50


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
        (JobFilter(states=(JobState.DEAD,)), {"dead"}),
        (JobFilter(states=(JobState.DONE, JobState.CANCELLED)), {"done", "cancelled"}),
        (JobFilter(ordering_key="a"), {"dead", "cancelled", "ready"}),
        (JobFilter(ordering_key="nowhere"), set()),
        (JobFilter(ordering_key="a", kinds=("send",)), {"ready"}),
        (JobFilter(text="44"), {"ready"}),
        (JobFilter(text="100% _sure"), {"dead"}),
        (JobFilter(text="%"), {"dead"}),
        (JobFilter(text="'"), set()),
        (JobFilter(text="4_"), set()),
        (JobFilter(states=(JobState.READY,), text="error"), set()),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),  # the same in each process
)
async def test_every_given_condition_of_a_filter_holds(engine: Engine, where: JobFilter, expected: set[str]) -> None:
    names = await mixed(engine)
    assert {names[each.id] for each in await engine.list(where)} == expected
    assert await engine.count(where) == len(expected)


@pytest.mark.parametrize("text", ["*", "?", "[a]", "]", "^[", "é*", "\\", "long " * 20_000])
async def test_a_text_is_found_as_it_stands_whatever_its_characters_mean_elsewhere(engine: Engine, text: str) -> None:
    payload = json.dumps({"text": text}, ensure_ascii=False)
    found, _ = await put(engine, replace(job(1), payload=payload), job(2))
    as_it_stands = payload[len('{"text": "') : -len('"}')]
    assert [each.id for each in await engine.list(JobFilter(text=as_it_stands))] == [found]
    assert await engine.count(JobFilter(text=f"{as_it_stands}!")) == 0


async def test_a_filter_of_ids_finds_just_them(engine: Engine) -> None:
    ids = await put(engine, *[job(n) for n in range(4)])
    assert [each.id for each in await engine.list(JobFilter(ids=(ids[0], ids[2], "nope")))] == [ids[2], ids[0]]


@pytest.mark.parametrize("where", [EVERYTHING, JobFilter(text='"n"')], ids=["everything", "text"])
async def test_count_is_not_limited_to_a_page(engine: Engine, where: JobFilter) -> None:
    await put(engine, *[job(n) for n in range(60)])
    assert await engine.count(where) == 60


async def test_a_text_is_looked_for_among_what_is_young_enough(engine: Engine, clock: ManualClock) -> None:
    await put(engine, *[job(n) for n in range(5)])
    clock.advance(3600)
    young = await put(engine, *[job(n) for n in range(5)])
    where = JobFilter(text='"n"', since=clock.now())
    assert [each.id for each in await engine.list(where)] == young[::-1]
    assert await engine.count(where) == 5


async def test_a_record_of_a_job_without_an_ordering_key_has_none(engine: Engine) -> None:
    [job_id] = await put(engine, job(1))
    assert (await record(engine, job_id)).ordering_key is None


async def test_a_key_is_busy_while_a_job_of_it_is_ready_or_running(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    [running, _] = await take(engine)
    assert await engine.busy(["a", "b", "nowhere"]) == {"a", "b"}
    await engine.ack(running)
    assert await engine.busy(["a", "b", "nowhere"]) == {"b"}
