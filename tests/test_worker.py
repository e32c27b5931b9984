"""The worker over the real queue: how much it runs, how each claim ends, how it stops."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from convoq import worker as worker_module
from convoq.db import Database
from convoq.errors import DatabaseRefused, DatabaseUnavailable, RetryLater, Snooze
from convoq.handlers.base import Handlers, Work, each
from convoq.jobs import PEOPLE, UPKEEP, NewJob
from convoq.queue.base import Claim, Job, JobRecord, State
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteBackend
from convoq.settings import QueueSettings
from convoq.worker import Worker, WorkerStuck

SOON = 5.0  # seconds; nothing takes this long unless it is broken

Handler = Callable[[Work], Awaitable[None]]


@dataclass
class Running:
    """A worker at work."""

    worker: Worker
    service: QueueService
    stopping: asyncio.Event
    at_once: asyncio.Event
    task: asyncio.Task[None]

    async def ended(self) -> None:
        """Raises what ended it."""
        async with asyncio.timeout(SOON):
            await self.task

    async def stop(self) -> None:
        self.stopping.set()
        await self.ended()


@dataclass
class House:
    """A queue, and as many workers on it as a test wants."""

    database: Database
    backend: SqliteBackend
    stack: list[Running] = field(default_factory=list)

    async def put(self, *keys: str | None, kind: str = "k", **options: Any) -> list[str]:
        jobs = [NewJob(kind=kind, payload="{}", ordering_key=key, **options) for key in keys]
        return [result.job_id for result in await self.backend.enqueue(jobs, max_attempts=5)]

    async def record(self, job_id: str) -> JobRecord:
        found = await self.backend.get(job_id)
        assert found is not None
        return found

    async def until(self, job_id: str, condition: Callable[[JobRecord], bool]) -> JobRecord:
        async with asyncio.timeout(SOON):
            while not condition(record := await self.record(job_id)):  # noqa: ASYNC110 # a row can only be looked at
                await asyncio.sleep(0.005)
        return record

    async def until_done(self, *job_ids: str) -> None:
        for job_id in job_ids:
            await self.until(job_id, lambda record: record.state is State.DONE)

    async def due_in(self) -> float:
        due = await self.backend.next_due()
        assert due is not None
        return due

    @asynccontextmanager
    async def working(
        self,
        handler: Handler | None = None,
        *,
        concurrency: int = 4,
        deadline: float = 60.0,
        drain_timeout: float = 60.0,
        drain: bool = False,
        lease: float = 30.0,
        name: str = "w",
    ) -> AsyncIterator[Running]:
        backend = SqliteBackend(self.database)
        service = QueueService(backend, QueueSettings(backoff_base=600, backoff_cap=600), random=lambda: 1.0)
        service.lease = lease
        worker = Worker(
            service,
            Handlers({"k": handler} if handler else {}),
            name=name,
            concurrency=concurrency,
            deadline=deadline,
            drain_timeout=drain_timeout,
        )
        stopping, at_once = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(worker.run(stopping, at_once=at_once, drain=drain))
        running = Running(worker, service, stopping, at_once, task)
        try:
            yield running
        finally:
            stopping.set()
            at_once.set()
            with suppress(Exception):
                await asyncio.wait_for(task, SOON)
            await backend.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await Database.open(tmp_path / "convoq.db") as database:
        backend = SqliteBackend(database)
        yield House(database, backend)
        await backend.close()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases, dead workers and stuck handlers are looked at often, a failing database too."""
    monkeypatch.setattr(worker_module, "CARE_INTERVAL", 0.02)
    monkeypatch.setattr(worker_module, "UNAVAILABLE_PAUSE", 0.1)


@pytest.fixture
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


class Gate:
    """A handler that waits inside until it is let go, and tells what it saw."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.started: list[str] = []
        self.cancelled = asyncio.Event()

    async def __call__(self, work: Work) -> None:
        self.started += [job.id for job in work.claim.jobs]
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.release()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.inside -= 1

    async def holds(self, count: int = 1) -> None:
        async with asyncio.timeout(SOON):
            for _ in range(count):
                await self.entered.acquire()


async def nothing(_: Work) -> None: ...


# --- Running


async def test_a_handled_job_is_done(house: House) -> None:
    [job_id] = await house.put(None)
    async with house.working(nothing):
        await house.until_done(job_id)


async def test_a_job_that_comes_later_is_handled_at_once(house: House) -> None:
    async with house.working(nothing) as running:
        await house.until_done(*await house.put(None))
        await asyncio.sleep(0.05)  # it waits for work by now
        [job_id] = await house.put(None)
        async with asyncio.timeout(0.45):  # less than the slow look that is the net
            await house.until_done(job_id)
        assert running.worker.busy == 0


async def test_no_more_claims_run_at_once_than_there_are_slots(house: House) -> None:
    gate = Gate()
    ids = await house.put(*[None] * 7)
    async with house.working(gate, concurrency=3) as running:
        await gate.holds(3)
        assert running.worker.busy == 3
        gate.open.set()
        await house.until_done(*ids)
    assert gate.most == 3


async def test_no_more_is_claimed_than_there_are_slots(house: House) -> None:
    gate = Gate()
    ids = await house.put(*[None] * 5)
    async with house.working(gate, concurrency=2):
        await gate.holds(2)
        assert [(await house.record(job_id)).running for job_id in ids].count(True) == 2


async def test_a_free_slot_is_filled_while_others_are_busy(house: House) -> None:
    gate = Gate()

    async def first_waits(work: Work) -> None:
        if work.claim.jobs[0].id == slow:
            await gate(work)

    [slow] = await house.put(None)
    async with house.working(first_waits, concurrency=2):
        await gate.holds()
        await house.until_done(*await house.put(*[None] * 10))


async def test_one_lane_is_handled_in_order_by_any_number_of_workers(house: House) -> None:
    seen: list[str] = []

    async def note(work: Work) -> None:
        for job in work.claim.jobs:
            seen.append(job.id)
            await asyncio.sleep(0.001)

    async with house.working(note, name="a"), house.working(note, name="b"):
        ids = [job_id for _ in range(30) for job_id in await house.put("lane")]
        await house.until_done(*ids)
    assert seen == ids


async def test_people_come_before_upkeep(house: House) -> None:
    seen: list[str] = []

    async def note(work: Work) -> None:
        seen.append(work.claim.jobs[0].id)

    [upkeep] = await house.put(None, priority=UPKEEP)
    [person] = await house.put(None, priority=PEOPLE)
    async with house.working(note, concurrency=1):
        await house.until_done(upkeep, person)
    assert seen == [person, upkeep]


# --- Outcomes


async def test_a_failing_job_is_tried_again_later(house: House) -> None:
    async def fail(_: Work) -> None:
        raise RuntimeError("broken")

    [job_id] = await house.put(None)
    async with house.working(fail) as running:
        record = await house.until(job_id, lambda record: record.error is not None)
        assert not running.task.done()
    assert (record.state, record.attempt) == (State.READY, 1)
    assert "RuntimeError: broken" in (record.error or "")
    assert await house.due_in() > 500


async def test_a_job_of_an_unknown_kind_is_deferred(house: House) -> None:
    [job_id] = await house.put(None, kind="of.the.future")
    async with house.working(nothing):
        record = await house.until(job_id, lambda record: record.claimed_at is not None and not record.running)
    assert (record.state, record.attempt) == (State.READY, 0)
    assert 50 < await house.due_in() <= 60


async def test_a_handler_over_its_deadline_is_tried_again(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, deadline=0.05):
        record = await house.until(job_id, lambda record: record.error is not None)
    assert gate.cancelled.is_set()
    assert (record.state, record.attempt) == (State.READY, 1)
    assert "TimeoutError" in (record.error or "")


async def test_a_handler_that_cancels_itself_has_failed(house: House) -> None:
    async def cancel_itself(_: Work) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    [job_id] = await house.put(None)
    async with house.working(cancel_itself):
        record = await house.until(job_id, lambda record: record.error is not None)
    assert (record.state, record.attempt) == (State.READY, 1)
    assert await house.due_in() > 500


async def test_an_outcome_that_cannot_be_written_does_not_end_the_worker(
    house: House, monkeypatch: pytest.MonkeyPatch, events: list[MutableMapping[str, Any]]
) -> None:
    async with house.working(nothing) as running:
        refusals = iter([DatabaseUnavailable("full")])
        ack = running.service.backend.ack

        async def sometimes(claim: Claim, jobs: Any = None) -> None:
            for refusal in refusals:
                raise refusal
            await ack(claim, jobs)

        monkeypatch.setattr(running.service.backend, "ack", sometimes)
        [unrecorded] = await house.put(None)
        await house.until(unrecorded, lambda record: record.claimed_at is not None)
        await house.until_done(*await house.put(None))
    assert "job.outcome_unrecorded" in [event["event"] for event in events]


async def test_the_jobs_not_run_are_not_charged(house: House) -> None:
    async def fail_at_second(work: Work) -> None:
        await work.done(work.claim.jobs[0])
        work.running = work.claim.jobs[:1]
        raise RuntimeError("second")

    ids = await house.put("a", "a", "a")
    async with house.working(fail_at_second):
        await house.until(ids[1], lambda record: record.error is not None)
    records = [await house.record(job_id) for job_id in ids]
    assert [(record.state, record.attempt) for record in records] == [
        (State.DONE, 1),
        (State.READY, 1),
        (State.READY, 0),
    ]


async def test_jobs_of_a_handler_that_never_awaits_are_recorded_as_they_end(house: House) -> None:
    recorded: list[int] = []

    async def blocking(job: Job) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 # a handler that blocks the loop is what is tested
        with closing(sqlite3.connect(house.database.path)) as other:
            recorded.append(other.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()[0])

    ids = await house.put(*["a"] * 8)
    async with house.working(each(blocking)):
        await house.until_done(*ids)
    assert recorded[-1] > 0


async def test_no_job_is_started_once_it_is_known_that_the_one_before_could_not_be_recorded(house: House) -> None:
    started: list[str] = []

    async def note(job: Job) -> None:
        started.append(job.id)
        if len(started) == 1:
            await house.database.write(lambda connection: connection.execute("UPDATE lanes SET receipt = 'x'").rowcount)
        else:
            await house.database.write(lambda connection: None)  # behind the ack of the one before

    ids = await house.put(*["a"] * 5)
    async with house.working(each(note)) as running:
        await house.until(ids[1], lambda record: len(started) == 2)
        await running.stop()
    assert started == ids[:2]


async def test_an_unrecorded_job_does_not_hide_how_the_next_one_ended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> asyncio.Future[None]:
        acking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acking.set_exception(DatabaseUnavailable("no room"))
        return acking

    async def snooze(work: Work) -> None:
        work.done_soon(work.claim.jobs[0])
        raise Snooze(60, "not yet")

    ids = await house.put("a", "a")
    async with house.working(snooze) as running:
        monkeypatch.setattr(running.service.backend, "ack", fails)
        await house.until(ids[1], lambda record: record.reason == "not yet")


async def test_a_stop_at_once_still_records_what_a_handler_has_done(house: House) -> None:
    begun, go_on = threading.Event(), threading.Event()
    blocker: list[asyncio.Task[None]] = []

    def block(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(SOON)

    async def end_behind_a_slow_write(_: Work) -> None:
        blocker.append(asyncio.create_task(house.database.write(block)))
        await asyncio.to_thread(begun.wait, SOON)

    [job_id] = await house.put(None)
    async with house.working(end_behind_a_slow_write) as running:
        await asyncio.to_thread(begun.wait, SOON)
        async with asyncio.timeout(SOON):
            while running.worker.busy:  # noqa: ASYNC110 # the handler's end has no event
                await asyncio.sleep(0)
        running.at_once.set()
        running.stopping.set()
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        await running.ended()
    await asyncio.gather(*blocker)
    record = await house.record(job_id)
    assert (record.state, record.attempt) == (State.DONE, 1)


# --- Leases


async def test_a_lease_is_kept_for_as_long_as_the_handler_runs(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, lease=0.3), house.working(gate, lease=0.3, name="other"):
        await gate.holds()
        await asyncio.sleep(0.9)  # three leases
        gate.open.set()
        await house.until_done(job_id)
    assert gate.started == [job_id]


async def steal(house: House) -> Claim:
    """Another worker's claim on what is under a claim."""
    await house.database.write(lambda connection: connection.execute("UPDATE lanes SET due_at = 0"))
    [claim] = await house.backend.claim(1, lease=60, worker="thief")
    return claim


async def test_a_lost_lease_ends_the_handler_and_leaves_the_new_holder_alone(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    # A living thief: the dead one's claim would be recovered.
    thief = SqliteBackend(house.database)
    await thief.register("thief")
    async with house.working(gate, lease=0.1) as running:
        await gate.holds()
        stolen = await steal(house)
        async with asyncio.timeout(SOON):
            await gate.cancelled.wait()
        await running.stop()
        record = await house.record(job_id)
    assert (record.state, record.attempt, record.running, record.worker) == (State.READY, 2, True, "thief")
    await house.backend.ack(stolen)
    await thief.close()


async def test_a_late_result_is_dropped(house: House, events: list[MutableMapping[str, Any]]) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    thief = SqliteBackend(house.database)
    await thief.register("thief")
    async with house.working(gate) as running:
        await gate.holds()
        await steal(house)
        gate.open.set()
        await running.stop()
    assert (await house.record(job_id)).state is State.READY
    assert [event["event"] for event in events if event["log_level"] != "debug"][-1] == "job.lease_lost"
    await thief.close()


async def test_a_handler_that_finds_its_lease_lost_ends_quietly(
    house: House, events: list[MutableMapping[str, Any]]
) -> None:
    async def find_out(work: Work) -> None:
        await steal(house)
        await house.database.write(work.fence.check)

    await house.put(None)
    thief = SqliteBackend(house.database)
    await thief.register("thief")
    async with house.working(find_out):
        async with asyncio.timeout(SOON):
            while "job.lease_lost" not in [event["event"] for event in events]:  # noqa: ASYNC110 # as above
                await asyncio.sleep(0.005)
    await thief.close()


async def test_a_renewal_that_failed_is_repeated_soon(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    tried: list[float] = []
    again = asyncio.Event()
    async with house.working(gate, lease=3.0) as running:

        async def extend(claims: Any, *, lease: float) -> list[Claim]:
            tried.append(asyncio.get_running_loop().time())
            if len(tried) == 1:
                raise DatabaseUnavailable("locked")
            again.set()
            return []

        monkeypatch.setattr(running.service.backend, "extend", extend)
        await house.put(None)
        await gate.holds()
        async with asyncio.timeout(SOON):
            await again.wait()
        gate.open.set()
    assert tried[1] - tried[0] < 0.7  # a third of the lease is a second


# --- A database that fails


async def test_a_database_that_is_locked_for_a_while_does_not_end_the_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.working(nothing) as running:
        refusals = iter([DatabaseUnavailable("locked")] * 2)
        claim = running.service.backend.claim

        async def sometimes(limit: int, **options: Any) -> list[Claim]:
            for refusal in refusals:
                raise refusal
            return await claim(limit, **options)

        monkeypatch.setattr(running.service.backend, "claim", sometimes)
        await house.until_done(*await house.put(None))


async def test_a_look_that_fails_is_not_repeated_without_pause(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0
    async with house.working(nothing) as running:
        claim = running.service.backend.claim

        async def counted(limit: int, **options: Any) -> list[Claim]:
            nonlocal claims
            claims += 1
            return await claim(limit, **options)

        async def broken(timeout: float) -> None:
            raise DatabaseUnavailable("disk")

        monkeypatch.setattr(running.service.backend, "claim", counted)
        monkeypatch.setattr(running.service.backend, "wait", broken)
        await house.put(None)  # ends the wait it is in
        await asyncio.sleep(0.5)
        assert not running.task.done()
    assert claims < 10


async def test_what_refuses_the_database_ends_the_worker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.working(nothing) as running:

        async def refused(timeout: float) -> None:
            raise DatabaseRefused("damaged")

        monkeypatch.setattr(running.service.backend, "wait", refused)
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

        monkeypatch.setattr(running.service.backend, "recover", recover)
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

        monkeypatch.setattr(running.service.backend, "recover", recover)
        with pytest.raises(DatabaseRefused):
            await running.ended()


# --- Stopping


async def test_a_stop_lets_running_handlers_finish(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate) as running:
        await gate.holds()
        running.stopping.set()
        await asyncio.sleep(0.05)
        assert not running.task.done()
        gate.open.set()
        await running.ended()
    assert (await house.record(job_id)).state is State.DONE


async def test_a_stop_claims_nothing_more(house: House) -> None:
    gate = Gate()
    await house.put(None)
    async with house.working(gate) as running:
        await gate.holds()
        running.stopping.set()
        [late] = await house.put(None)
        await asyncio.sleep(0.05)
        gate.open.set()
        await running.ended()
    assert (await house.record(late)).claimed_at is None


async def test_leases_are_kept_while_it_drains(house: House) -> None:
    gate = Gate()
    await house.put(None)
    async with house.working(gate, lease=0.2) as running:
        await gate.holds()
        running.stopping.set()
        await asyncio.sleep(0.6)
        assert await house.due_in() > 0
        gate.open.set()
        await running.ended()


async def test_what_outlasts_the_drain_goes_back_without_an_attempt(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, drain_timeout=0.05) as running:
        await gate.holds()
        await running.stop()
    record = await house.record(job_id)
    assert (record.state, record.attempt, record.running) == (State.READY, 0, False)
    assert await house.due_in() == 0


async def test_a_second_signal_hands_everything_back_at_once(house: House) -> None:
    gate = Gate()
    ids = await house.put(None, None)
    async with house.working(gate, drain_timeout=60) as running:
        await gate.holds(2)
        running.stopping.set()
        running.at_once.set()
        await running.ended()
    assert [(await house.record(job_id)).attempt for job_id in ids] == [0, 0]


async def test_an_idle_worker_stops_at_once(house: House) -> None:
    async with house.working(nothing) as running:
        await house.until_done(*await house.put(None))
        await asyncio.wait_for(running.stop(), 1)


# --- Handlers that cannot be stopped


class Stubborn:
    """A handler that takes no notice of being cancelled."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, _: Work) -> None:
        self.entered.set()
        while not self.let_go.is_set():
            with suppress(asyncio.CancelledError):
                await self.let_go.wait()


@pytest.fixture
async def stubborn(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stubborn]:
    for grace in ("STUBBORN_GRACE", "LAST_GRACE"):
        monkeypatch.setattr(worker_module, grace, 0.05)
    stubborn = Stubborn()
    yield stubborn
    stubborn.let_go.set()
    await asyncio.sleep(0.01)


async def test_a_handler_that_goes_on_after_its_deadline_has_the_process_replaced(
    house: House, stubborn: Stubborn
) -> None:
    await house.put(None)
    async with house.working(stubborn, deadline=0.05, drain_timeout=0.05) as running:
        with pytest.raises(WorkerStuck):
            await running.ended()


async def test_a_handler_that_goes_on_after_a_stop_has_the_process_replaced(house: House, stubborn: Stubborn) -> None:
    await house.put(None)
    async with house.working(stubborn, drain_timeout=0.05) as running:
        await stubborn.entered.wait()
        running.stopping.set()
        with pytest.raises(WorkerStuck):
            await running.ended()


# --- Draining


async def test_drain_ends_when_nothing_is_left(house: House) -> None:
    ids = await house.put(*[None] * 20)
    async with house.working(nothing, drain=True) as running:
        await running.ended()
    assert {(await house.record(job_id)).state for job_id in ids} == {State.DONE}


async def test_drain_ends_on_an_empty_queue(house: House) -> None:
    async with house.working(nothing, drain=True) as running:
        await running.ended()


async def test_drain_waits_for_what_is_due_soon(house: House) -> None:
    [job_id] = await house.put(None, delay=0.3)
    async with house.working(nothing, drain=True) as running:
        await running.ended()
    assert (await house.record(job_id)).state is State.DONE


async def test_drain_does_not_wait_for_what_is_due_much_later(house: House) -> None:
    [job_id] = await house.put(None, delay=3600)
    async with house.working(nothing, drain=True) as running:
        await running.ended()
    assert (await house.record(job_id)).state is State.READY


async def test_drain_waits_for_what_a_handler_enqueues(house: House) -> None:
    made: list[str] = []

    async def more(_: Work) -> None:
        if len(made) < 5:
            made.extend(await house.put(None))

    await house.put(None)
    async with house.working(more, drain=True) as running:
        await running.ended()
    assert {(await house.record(job_id)).state for job_id in made} == {State.DONE}


# --- Outcomes that handlers raise


@pytest.mark.parametrize(("outcome", "attempts"), [(Snooze(30), 0), (RetryLater(30), 1)], ids=["snooze", "retry"])
async def test_an_outcome_as_a_value_delays_the_lane(house: House, outcome: Exception, attempts: int) -> None:
    async def handler(_: Work) -> None:
        raise outcome

    [job_id] = await house.put("lane")
    async with house.working(handler):
        record = await house.until(job_id, lambda record: record.claimed_at is not None and not record.running)
    assert record.attempt == attempts
    assert 25 < await house.due_in() <= 30


# --- Jobs that may kill their worker


async def crash(house: House, starts: int) -> None:
    """Workers that die with everything they have claimed."""
    for number in range(starts):
        doomed = SqliteBackend(house.database)
        await doomed.register(f"doomed{number}")
        assert await doomed.claim(10, lease=3600.0, worker=f"doomed{number}")
        await doomed.close()  # its lock is gone, as if the process were
        await house.backend.recover()


async def test_jobs_whose_workers_died_run_one_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "SUSPECT_PAUSE", 0.02)
    gate = Gate()
    ids = await house.put(None, None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=3):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*ids)
    assert gate.most == 1


async def test_a_job_that_waits_for_another_suspect_is_not_charged_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SUSPECT_PAUSE", 0.02)
    gate = Gate()
    ids = await house.put(None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=2):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*ids)
    assert [(await house.record(job_id)).attempt for job_id in ids] == [3, 3]


async def test_jobs_that_never_saw_a_worker_die_are_not_held_up_by_a_suspect(house: House) -> None:
    gate = Gate()
    await house.put(None)
    await crash(house, 2)
    await house.put(None, None)
    async with house.working(gate, concurrency=3):
        await gate.holds(3)
        gate.open.set()
