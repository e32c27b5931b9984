"""The queue against a model of its lanes in plain Python: no order of calls loses anything or mixes it up."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from convoq.errors import LeaseLost
from convoq.jobs import NORMAL, PEOPLE, UPKEEP, NewJob
from convoq.queue.base import Claim, Enqueued, Job, JobFilter, JobState, KindStats
from tests.clock import ManualClock
from tests.queue.conftest import ENGINES, Engine, Opened

T = TypeVar("T")

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
DEPTH = settings(
    max_examples=1000 if NIGHTLY else 40,
    stateful_step_count=100 if NIGHTLY else 40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# Each lane has one priority, so that the model can tell the order in which lanes are claimed.
LANES = {"ann": PEOPLE, "bob": PEOPLE, "cron": UPKEEP}
KINDS = ("reply", "send")
TOGETHER = frozenset(KINDS)
WORKERS = 2


@dataclass(slots=True)
class ModelJob:
    id: str
    place: int  #: in the line of its lane, for good
    lane: str
    kind: str
    priority: int
    state: JobState = JobState.READY
    attempt: int = 0
    finished_at: int | None = None


@dataclass(slots=True)
class ModelLane:
    due_at: int
    priority: int
    jobs: list[str] = field(default_factory=list)  #: unfinished, in order
    receipt: str | None = None
    reach: int = 0  #: the place of the last job that the claim was given
    claimed: list[str] = field(default_factory=list)  #: the unfinished jobs of the claim


@dataclass(frozen=True, slots=True)
class Draw:
    """What one job of an enqueue is to be."""

    lane: str | None
    kind: str
    dedup: str | None
    delay: float
    priority: int

    def as_new(self) -> NewJob:
        return NewJob(
            kind=self.kind,
            payload=json.dumps({"kind": self.kind}),
            ordering_key=self.lane,
            dedup_key=self.dedup,
            delay=0.0 if self.lane else self.delay,
            priority=LANES[self.lane] if self.lane else self.priority,
        )


draws = st.builds(
    Draw,
    lane=st.sampled_from(["ann", "ann", "bob", "cron", None]),
    kind=st.sampled_from(["reply", "reply", "send"]),
    dedup=st.none() | st.sampled_from(["k1", "k2", "k3"]),
    delay=st.sampled_from([0.0, 0.0, 10.0]),
    priority=st.sampled_from([PEOPLE, NORMAL, UPKEEP]),
)
engines = st.integers(0, WORKERS - 1)


async def acked(engine: Engine, claim: Claim, jobs: Sequence[Job] | None = None) -> None:
    await engine.ack(claim, jobs)


class QueueMachine(RuleBasedStateMachine):
    """Two engines on one queue, a clock turned by hand, and every claim ever given, the stale ones too."""

    engine_name: str
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.jobs: dict[str, ModelJob] = {}
        self.places = itertools.count(1)
        self.gone: set[str] = set()
        self.lanes: dict[str, ModelLane] = {}
        self.keys: dict[str, str] = {}
        self.receipts: set[str] = set()
        self.newest: dict[str, Claim] = {}  #: by receipt
        self.opened: list[Opened] = []

    # --- the ground ---

    @initialize()
    def open(self) -> None:
        for _ in range(WORKERS):
            self.opened.append(self.run(ENGINES[self.engine_name](Path(self.directory.name), self.clock)))

    def teardown(self) -> None:
        try:
            if self.opened:
                self.drain()
        finally:
            for each in self.opened:
                self.run(each.close())
            self.runner.close()
            self.directory.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def engine(self, which: int) -> Engine:
        return self.opened[which].engine

    # --- what callers do ---

    @rule(which=engines, drawn=st.lists(draws, min_size=1, max_size=4))
    def enqueue(self, which: int, drawn: list[Draw]) -> None:
        results = self.run(self.engine(which).enqueue([each.as_new() for each in drawn], max_attempts=5))
        assert len(results) == len(drawn)
        for draw, result in zip(drawn, results, strict=True):
            if draw.dedup in self.keys:
                assert result == Enqueued(self.keys[draw.dedup], duplicate=True)
                continue
            assert not result.duplicate
            assert result.job_id not in self.jobs
            assert result.job_id not in self.gone
            self.note_enqueued(draw, result.job_id)

    def note_enqueued(self, draw: Draw, job_id: str) -> None:
        new = draw.as_new()
        lane = new.ordering_key or f"alone {job_id}"
        self.jobs[job_id] = ModelJob(job_id, next(self.places), lane, new.kind, new.priority)
        self.line_up(self.jobs[job_id], self.clock.now() + round(new.delay * 1000))
        if draw.dedup is not None:
            self.keys[draw.dedup] = job_id

    def line_up(self, job: ModelJob, due_at: int) -> None:
        line = self.lanes.setdefault(job.lane, ModelLane(due_at, job.priority)).jobs
        line.append(job.id)
        line.sort(key=lambda each: self.jobs[each].place)

    @rule(target=claims, which=engines, limit=st.integers(1, 4), lease=st.sampled_from([10.0, 60.0]))
    def claim(self, which: int, limit: int, lease: float) -> Any:
        due = sorted((lane.priority, lane.due_at) for lane in self.lanes.values() if lane.due_at <= self.clock.now())
        claims = self.run(self.engine(which).claim(limit, lease=lease, worker=f"w{which}", together=TOGETHER))
        standing = [self.lanes[self.jobs[claim.jobs[0].id].lane] for claim in claims]
        assert [(lane.priority, lane.due_at) for lane in standing] == due[:limit]
        for claim in claims:
            self.note_claimed(claim, lease)
        return multiple(*[claim.receipt for claim in claims])

    def note_claimed(self, claim: Claim, lease: float) -> None:
        assert claim.receipt not in self.receipts
        key = self.jobs[claim.jobs[0].id].lane
        lane = self.lanes[key]
        assert claim.lane == key or key.startswith("alone ")
        assert [each.id for each in claim.jobs] == self.front(lane.jobs)
        lane.receipt, lane.claimed = claim.receipt, [each.id for each in claim.jobs]
        lane.due_at = self.clock.now() + round(lease * 1000)
        self.charge(lane, claim.jobs)
        self.receipts.add(claim.receipt)
        self.newest[claim.receipt] = claim

    def front(self, line: Sequence[str]) -> list[str]:
        """The head of the line, and what may run beside it: its kind, and nobody who has failed twice."""
        head = self.jobs[line[0]]
        if head.attempt >= 2:
            return [head.id]
        return list(itertools.takewhile(lambda each: self.may_join(head, each), line))

    def may_join(self, head: ModelJob, job_id: str) -> bool:
        return self.jobs[job_id].kind == head.kind and self.jobs[job_id].attempt < 2

    def charge(self, lane: ModelLane, handed_out: Sequence[Job]) -> None:
        for each in handed_out:
            lane.reach = self.jobs[each.id].place
            self.jobs[each.id].attempt += 1
            assert (each.attempt, each.kind) == (self.jobs[each.id].attempt, self.jobs[each.id].kind)

    @rule(which=engines, receipt=claims, data=st.data())
    def ack(self, which: int, receipt: str, data: st.DataObject) -> None:
        claim = self.newest[receipt]
        some = self.some(data, claim)
        if self.verb(receipt, acked(self.engine(which), claim, some)):
            self.end(claim, claim.jobs if some is None else some, JobState.DONE)

    @rule(which=engines, receipt=claims, data=st.data())
    def bury(self, which: int, receipt: str, data: st.DataObject) -> None:
        claim = self.newest[receipt]
        some = self.some(data, claim) or claim.jobs
        if self.verb(receipt, self.engine(which).bury(claim, some, error="buried")):
            self.end(claim, some, JobState.DEAD)

    @rule(which=engines, receipt=claims, delay=st.sampled_from([0.0, 0.0, 20.0]), data=st.data())
    def nack(self, which: int, receipt: str, delay: float, data: st.DataObject) -> None:
        claim = self.newest[receipt]
        charged = data.draw(st.sampled_from([(), claim.jobs, claim.jobs[:1]]), label="charged")
        if not self.verb(receipt, self.engine(which).nack(claim, delay=delay, charged=charged, error="failed")):
            return
        lane = self.lane_of(claim)
        for job_id in lane.claimed:
            self.jobs[job_id].attempt -= job_id not in {each.id for each in charged}
        lane.receipt, lane.claimed, lane.due_at = None, [], self.clock.now() + round(delay * 1000)

    def behind(self, lane: ModelLane) -> list[str]:
        return [job_id for job_id in lane.jobs if self.jobs[job_id].place > lane.reach]

    @rule(which=engines, receipts=st.lists(claims, max_size=3, unique=True), lease=st.sampled_from([10.0, 60.0]))
    def extend(self, which: int, receipts: list[str], lease: float) -> None:
        asked = [self.newest[receipt] for receipt in receipts]
        lost = self.engine(which).extend(asked, lease=lease)
        assert lost == [claim for claim in asked if not self.holds(claim.receipt)]
        for claim in asked:
            if claim not in lost:
                self.lane_of(claim).due_at = self.clock.now() + round(lease * 1000)

    @rule(which=engines, data=st.data())
    @precondition(lambda self: self.jobs)
    def cancel(self, which: int, data: st.DataObject) -> None:
        job = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)), label="job")]
        lane = self.lanes.get(job.lane)
        if lane is not None and job.id in lane.claimed and lane.due_at <= self.clock.now():
            return  # the contract leaves open whether a job whose lease ran out may be cancelled under its late worker
        cancelled = job.state is JobState.READY and lane is not None and job.id not in lane.claimed
        assert self.run(self.engine(which).cancel(JobFilter(ids=(job.id,)))) == cancelled
        if cancelled and lane is not None:
            job.state, job.finished_at = JobState.CANCELLED, self.clock.now()
            lane.jobs.remove(job.id)
            self.close_if_empty(job.lane)

    @rule(which=engines, data=st.data())
    @precondition(lambda self: self.jobs)
    def retry_dead(self, which: int, data: st.DataObject) -> None:
        job = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)), label="job")]
        revived = job.state in (JobState.DEAD, JobState.CANCELLED)
        assert self.run(self.engine(which).retry_dead(JobFilter(ids=(job.id,)))) == revived
        if revived:
            job.state, job.attempt, job.finished_at = JobState.READY, 0, None
            self.line_up(job, self.clock.now())
            lane = self.lanes[job.lane]
            lane.due_at = lane.due_at if lane.receipt else self.clock.now()

    @rule(which=engines, older_than=st.sampled_from([5.0, 100.0]))
    def prune(self, which: int, older_than: float) -> None:
        horizon = self.clock.now() - round(older_than * 1000)
        old = [
            job.id
            for job in self.jobs.values()
            if job.state in (JobState.DONE, JobState.CANCELLED) and (job.finished_at or 0) < horizon
        ]
        assert self.run(self.engine(which).prune(older_than=older_than)) == len(old)
        for job_id in old:
            del self.jobs[job_id]
            self.gone.add(job_id)

    @rule(seconds=st.sampled_from([0.001, 1.0, 9.999, 10.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(which=engines)
    def restart(self, which: int) -> None:
        self.run(self.opened[which].close())
        self.opened[which] = self.run(ENGINES[self.engine_name](Path(self.directory.name), self.clock))

    # --- how the model keeps books ---

    def some(self, data: st.DataObject, claim: Claim) -> tuple[Job, ...] | None:
        return data.draw(st.sampled_from([None, claim.jobs[:1], claim.jobs[-1:]]), label="some")

    def verb(self, receipt: str, work: Coroutine[Any, Any, T]) -> list[T]:
        """Runs it: the one thing it gave, or nothing when it rightly refused a stale receipt."""
        if self.holds(receipt):
            return [self.run(work)]
        with pytest.raises(LeaseLost):
            self.run(work)
        return []

    def holds(self, receipt: str) -> bool:
        return any(lane.receipt == receipt for lane in self.lanes.values())

    def lane_of(self, claim: Claim) -> ModelLane:
        [lane] = [lane for lane in self.lanes.values() if lane.receipt == claim.receipt]
        return lane

    def end(self, claim: Claim, jobs: Sequence[Job], state: JobState) -> None:
        lane = self.lane_of(claim)
        for each in jobs:
            if each.id in lane.claimed:
                lane.claimed.remove(each.id)
                lane.jobs.remove(each.id)
                self.jobs[each.id].state, self.jobs[each.id].finished_at = state, self.clock.now()
        if not lane.claimed:
            lane.receipt, lane.due_at = None, self.clock.now()
            self.close_if_empty(self.jobs[claim.jobs[0].id].lane)

    def close_if_empty(self, key: str) -> None:
        if not self.lanes[key].jobs:
            del self.lanes[key]

    # --- what always holds ---

    @invariant()
    def every_job_stands_where_the_model_says(self) -> None:
        if not self.opened:
            return
        seen = self.run(self.engine(0).list(JobFilter(), limit=10_000))
        now = self.clock.now()
        actual = {
            each.id: (each.kind, each.state, each.attempt, each.running, each.due_at, each.finished_at) for each in seen
        }
        expected = {}
        for job in self.jobs.values():
            lane = self.lanes[job.lane] if job.state is JobState.READY else None
            running = lane is not None and job.id in lane.claimed and lane.due_at > now
            due_at = lane.due_at if lane is not None else None
            expected[job.id] = (job.kind, job.state, job.attempt, running, due_at, job.finished_at)
        assert actual == expected
        assert len(seen) == len(actual)

    @invariant()
    def stats_add_up(self) -> None:
        if not self.opened:
            return
        stats = self.run(self.engine(1).stats())
        for kind in KINDS:
            got = stats.kinds.get(kind, KindStats())
            assert (got.ready, got.scheduled, got.running, got.dead) == self.expected_stats(kind)

    @invariant()
    def the_next_due_lane_is_known(self) -> None:
        if not self.opened:
            return
        waits = [max(0, lane.due_at - self.clock.now()) / 1000 for lane in self.lanes.values()]
        assert self.run(self.engine(0).next_due()) == min(waits, default=None)

    def expected_stats(self, kind: str) -> tuple[int, int, int, int]:
        ready = scheduled = running = dead = 0
        for job in self.jobs.values():
            if job.kind != kind:
                continue
            dead += job.state is JobState.DEAD
            if job.state is not JobState.READY:
                continue
            lane = self.lanes[job.lane]
            waits = lane.due_at > self.clock.now()
            running += waits and job.id in lane.claimed
            scheduled += waits and lane.receipt is None
            ready += not waits or (lane.receipt is not None and job.id not in lane.claimed)
        return ready, scheduled, running, dead

    def drain(self) -> None:
        """Whatever happened before: all that is unfinished comes, each lane in its order, and then nothing is left."""
        expected = {key: list(lane.jobs) for key, lane in self.lanes.items()}
        self.clock.advance(3600.0)
        came: dict[str, list[str]] = {}
        while claims := self.run(self.engine(0).claim(100, lease=60.0, worker="drain", together=TOGETHER)):
            for claim in claims:
                came.setdefault(self.jobs[claim.jobs[0].id].lane, []).extend(each.id for each in claim.jobs)
                self.run(acked(self.engine(0), claim))
        assert came == expected
        assert self.run(self.engine(1).count(JobFilter(states=(JobState.READY,)))) == 0


@pytest.mark.parametrize("name", list(ENGINES))
def test_any_order_of_calls_keeps_the_contract(name: str) -> None:
    machine = type(f"{name.title()}Machine", (QueueMachine,), {"engine_name": name})
    run_state_machine_as_test(machine, settings=DEPTH)
