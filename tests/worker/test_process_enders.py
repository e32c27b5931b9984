"""What would end the process from inside a job is that job's failure; its neighbours finish."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from convoq.handlers.base import ClaimContext, each
from convoq.handlers.tasks import make_task
from convoq.queue.base import Job, JobState
from tests.worker.harness import Gate, House


class Panic(BaseException):
    """As PanicException of PyO3: derived from BaseException, so that no one catches it by accident."""


ENDERS: dict[str, Callable[[], BaseException]] = {
    "the handler called sys.exit(3)": lambda: SystemExit(3),
    "the handler called sys.exit()": SystemExit,
    "the handler raised KeyboardInterrupt": KeyboardInterrupt,
    "the handler raised GeneratorExit": GeneratorExit,
    "the handler raised Panic: index out of bounds": lambda: Panic("index out of bounds"),
}


@pytest.fixture(autouse=True)
async def factory(house: House) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)
    yield
    loop.set_task_factory(None)


@pytest.fixture(params=ENDERS)
def said(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def end(said: str) -> Callable[[], Awaitable[None]]:
    async def end() -> None:
        raise ENDERS[said]()

    return end


End = Callable[[], Awaitable[None]]


async def awaited(end: End) -> None:
    await end()


async def in_a_task(end: End) -> None:
    await asyncio.ensure_future(end())


async def in_a_task_that_is_not_awaited(end: End) -> None:
    task = asyncio.ensure_future(end())
    await asyncio.wait([task])


async def in_a_grandchild(end: End) -> None:
    await asyncio.ensure_future(in_a_task(end))


async def gathered(end: End) -> None:
    await asyncio.gather(asyncio.sleep(60), end())


async def gathered_with_its_exceptions(end: End) -> None:
    await asyncio.gather(asyncio.sleep(0), end(), return_exceptions=True)


async def grouped(end: End) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(in_a_task(end))


async def shielded(end: End) -> None:
    await asyncio.wait_for(asyncio.shield(in_a_task(end)), 60)


async def in_a_thread(end: End) -> None:
    def run() -> None:
        coroutine = end()
        coroutine.send(None)  # type: ignore[attr-defined]

    await asyncio.to_thread(run)


WAYS = [
    awaited, in_a_task, in_a_task_that_is_not_awaited, in_a_grandchild, gathered, gathered_with_its_exceptions, grouped,
    shielded, in_a_thread,
]  # fmt: skip


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # tasks that are left unawaited on purpose
@pytest.mark.parametrize("way", WAYS)
async def test_what_would_end_the_process_is_the_failure_of_its_job(
    house: House, said: str, end: End, way: Callable[[End], Awaitable[None]]
) -> None:
    gate, [neighbour] = Gate(), await house.put(None, kind="k")

    async def handler(context: ClaimContext) -> None:
        await (gate(context) if context.claim.jobs[0].id == neighbour else way(end))

    async with house.working(handler) as running:
        await gate.holds()
        [job] = await house.put(None)
        record = await house.until(job, lambda record: record.error is not None)
        gate.open.set()
        await house.until_done(neighbour)
        assert not running.task.done()
    assert (record.state, record.attempt) == (JobState.READY, 1)
    assert said in (record.error or "")
    assert "tests/worker/test_process_enders.py" in (record.error or "")


async def test_the_deadline_does_not_hide_what_a_task_wanted_to_end_with(house: House) -> None:
    async def exit_now() -> None:
        raise SystemExit(3)

    async def wait_for_nothing(_: ClaimContext) -> None:
        task = asyncio.create_task(exit_now())
        await asyncio.Event().wait()
        await task

    [job] = await house.put(None)
    async with house.working(wait_for_nothing, deadline=0.05):
        record = await house.until(job, lambda record: record.error is not None)
    assert "sys.exit(3)" in (record.error or "")


async def test_the_jobs_before_the_one_that_failed_are_done_and_those_behind_it_not_charged(house: House) -> None:
    ids = await house.put("a", "a", "a")

    async def exit_now() -> None:
        raise SystemExit(3)

    async def run(job: Job) -> None:
        if job.id == ids[1]:
            await asyncio.wait([asyncio.create_task(exit_now())])

    async with house.working(each(run)):
        await house.until(ids[1], lambda record: record.error is not None)
    records = [await house.record(job) for job in ids]
    assert [(record.state, record.attempt) for record in records] == [
        (JobState.DONE, 1),
        (JobState.READY, 1),
        (JobState.READY, 0),
    ]


async def test_a_task_that_outlives_its_job_is_named_with_the_job(
    house: House, events: list[MutableMapping[str, Any]]
) -> None:
    tasks: list[asyncio.Task[None]] = []
    late = asyncio.Event()

    async def exit_late() -> None:
        await late.wait()
        raise SystemExit(3)

    async def leave_a_task(_: ClaimContext) -> None:
        tasks.append(asyncio.create_task(exit_late()))

    [job] = await house.put(None)
    async with house.working(leave_a_task):
        await house.until_done(job)
        late.set()
        await asyncio.wait(tasks)
    assert isinstance(tasks[0].exception(), RuntimeError)
    [failed] = [event for event in events if event["event"] == "job.task_failed"]
    assert (failed["kind"], failed["job_id"], failed["error"]) == ("k", job, "the handler called sys.exit(3)")


async def test_a_task_that_is_cancelled_before_it_begins_leaves_no_warning(house: House) -> None:
    async def cancel_at_once(_: ClaimContext) -> None:
        task = asyncio.create_task(asyncio.sleep(60), name="mine")
        assert "sleep" in repr(task)
        assert task.get_name() == "mine"
        task.cancel()
        await asyncio.wait([task])

    await_done = await house.put(None)
    async with house.working(cancel_at_once):
        await house.until_done(*await_done)
    gc.collect()
