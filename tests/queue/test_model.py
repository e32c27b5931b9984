"""The queue against a model of its lanes in plain Python: no order of calls loses anything or mixes it up."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
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
from convoq.jobs import INTAKE, INTAKE_KIND, NORMAL, PEOPLE, UPKEEP, NewJob
from convoq.queue.base import Claim, Enqueued, JobFilter, JobState, KindStats
from tests.clock import ManualClock
from tests.queue.conftest import ENGINES, Engine, Opened, empty
from tests.queue.contract.steps import follow, kick, recovered
from tests.queue.model import ALONE, Model

pytestmark = pytest.mark.long

T = TypeVar("T")

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
#: How many orders are tried: a server takes longer for each, and Redis is the same whatever store is beside it.
ORDERS = {"sqlite": 40, "redis": 25, "postgresql": 25, "redis+postgresql": 5}


def depth(engine_name: str) -> settings:
    return settings(
        max_examples=1000 if NIGHTLY else ORDERS[engine_name],
        stateful_step_count=100 if NIGHTLY else 40,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


# Each lane has one priority, so that the model can tell the order in which lanes are claimed.
LANES = {"ann": PEOPLE, "bob": PEOPLE, "cron": UPKEEP, "in": INTAKE}
KINDS = ("reply", "send", INTAKE_KIND)
WORKERS = 2


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
            kind=kind_in(self.lane, self.kind),
            payload=json.dumps({"kind": self.kind}),
            ordering_key=self.lane,
            dedup_key=self.dedup,
            delay=0.0 if self.lane else self.delay,
            priority=LANES[self.lane] if self.lane else self.priority,
        )


def kind_in(lane: str | None, kind: str) -> str:
    return INTAKE_KIND if lane == "in" else kind


kinds = st.sampled_from(["reply", "reply", "send"])
draws = st.builds(
    Draw,
    lane=st.sampled_from(["ann", "ann", "bob", "cron", "in", None]),
    kind=kinds,
    dedup=st.none() | st.sampled_from(["k1", "k2", "k3"]),
    delay=st.sampled_from([0.0, 0.0, 10.0]),
    priority=st.sampled_from([PEOPLE, NORMAL, UPKEEP]),
)
engines = st.integers(0, WORKERS - 1)
togethers = st.sampled_from([frozenset[str](), frozenset({"reply", INTAKE_KIND}), frozenset(KINDS)])


async def acked(engine: Engine, claim: Claim, *, forget: bool = False) -> None:
    await engine.ack(claim, forget=forget)


class QueueMachine(RuleBasedStateMachine):
    """Two engines on one queue, a clock turned by hand, and every claim ever given, the stale ones too."""

    engine_name: str
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.model = Model(self.clock)
        self.keys: dict[str, str] = {}
        self.given: dict[str, Claim] = {}  #: by receipt
        self.opened: list[Opened] = []
        self.lives = [0] * WORKERS
        self.dead: set[str] = set()

    # --- the ground ---

    @initialize()
    def open(self) -> None:
        empty(self.engine_name)
        for which in range(WORKERS):
            self.opened.append(self.start(which))

    def start(self, which: int) -> Opened:
        opened = self.run(ENGINES[self.engine_name].open(Path(self.directory.name), self.clock))
        self.run(opened.engine.register(self.name(which)))
        return opened

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

    def name(self, which: int) -> str:
        return f"w{which}-{self.lives[which]}"

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
            self.note_new(draw.as_new(), result.job_id)
            if draw.dedup is not None:
                self.keys[draw.dedup] = result.job_id

    def note_new(self, new: NewJob, job_id: str) -> None:
        assert job_id not in self.model.jobs
        assert job_id not in self.model.gone
        self.model.enqueue(new, job_id)

    @rule(which=engines, lane=st.sampled_from(sorted(LANES)), kind=kinds)
    def enqueue_in_a_transaction(self, which: int, lane: str, kind: str) -> None:
        new = NewJob(kind=kind_in(lane, kind), payload="{}", ordering_key=lane, priority=LANES[lane], max_attempts=5)
        known = self.ids()
        self.run(follow(self.opened[which], new))
        added = self.ids() - known
        assert len(added) == (not self.model.is_waiting(lane, new.kind))
        for job_id in added:
            self.note_new(new, job_id)

    def ids(self) -> set[str]:
        return {each.id for each in self.run(self.engine(0).list(JobFilter(), limit=10_000))}

    @rule(
        target=claims, which=engines, limit=st.integers(0, 4), reserve=st.integers(0, 2), together=togethers,
        lease=st.sampled_from([10.0, 60.0]),
    )  # fmt: skip
    def claim(self, which: int, limit: int, reserve: int, together: frozenset[str], lease: float) -> Any:
        self.model.rejoin_due()
        due = self.model.due(limit, reserve)
        claims = self.run(
            self.engine(which).claim(limit, lease=lease, worker=self.name(which), reserve=reserve, together=together)
        )
        standing = [self.model.lanes[self.model.jobs[claim.jobs[0].id].lane] for claim in claims]
        assert [(lane.priority, lane.due_at) for lane in standing] == due
        for claim in claims:
            self.note_claimed(claim, lease, together, self.name(which))
        return multiple(*[claim.receipt for claim in claims])

    def note_claimed(self, claim: Claim, lease: float, together: frozenset[str], worker: str) -> None:
        assert claim.receipt not in self.given
        key = self.model.jobs[claim.jobs[0].id].lane
        lane = self.model.lanes[key]
        assert claim.lane == key or key.startswith(ALONE)
        assert [each.id for each in claim.jobs] == self.model.front(lane.jobs, together)
        assert (claim.priority, claim.crashes) == (lane.priority, self.model.crashes(lane))
        lane.receipt, lane.worker, lane.claimed = claim.receipt, worker, [each.id for each in claim.jobs]
        lane.kicked = False
        lane.due_at = self.clock.now() + round(lease * 1000)
        self.model.charge(claim.jobs)
        self.given[claim.receipt] = claim

    @rule(which=engines, receipt=claims, forget=st.booleans())
    def ack(self, which: int, receipt: str, forget: bool) -> None:
        claim = self.given[receipt]
        if self.verb(receipt, acked(self.engine(which), claim, forget=forget)):
            self.model.end(claim, claim.jobs, JobState.DONE, forget=forget)

    @rule(which=engines, receipt=claims, forget=st.booleans())
    @precondition(lambda self: self.opened[0].shared is not None)
    def ack_in_a_transaction(self, which: int, receipt: str, forget: bool) -> None:
        claim, joined = self.given[receipt], self.opened[which].joined
        acked = self.run(self.opened[which].database.write(lambda tx: joined.ack(tx, claim, forget=forget)))
        assert acked == self.model.holds(receipt)
        if acked:
            self.model.end(claim, claim.jobs, JobState.DONE, forget=forget)

    @rule(which=engines, receipt=claims, forget=st.booleans(), together=togethers)
    def advance(self, which: int, receipt: str, forget: bool, together: frozenset[str]) -> None:
        claim = self.given[receipt]
        for following in self.verb(receipt, self.engine(which).advance(claim, forget=forget, together=together)):
            wanted = self.model.advance(claim, together, forget=forget)
            assert [job.id for job in following.jobs] == wanted if following else not wanted
            if following:
                self.model.charge(following.jobs)
                self.given[receipt] = following

    @rule(which=engines, lane=st.sampled_from(sorted(LANES)))
    def kick(self, which: int, lane: str) -> None:
        self.run(kick(self.opened[which], lane))
        self.model.kick(lane)

    @rule(which=engines, receipt=claims)
    def kick_the_lane_of_a_claim(self, which: int, receipt: str) -> None:
        key = self.given[receipt].lane
        if key in LANES:
            self.kick(which=which, lane=key)

    @rule(which=engines, receipt=claims, data=st.data())
    def bury(self, which: int, receipt: str, data: st.DataObject) -> None:
        claim = self.given[receipt]
        some = data.draw(st.sampled_from([claim.jobs, claim.jobs[:1], claim.jobs[-1:]]), label="some")
        if self.verb(receipt, self.engine(which).bury(claim, some, error="buried")):
            self.model.end(claim, some, JobState.DEAD)

    @rule(
        which=engines, receipt=claims, delay=st.sampled_from([0.0, 20.0]), aside=st.booleans(),
        unrun=st.booleans(), data=st.data(),
    )  # fmt: skip
    def nack(self, which: int, receipt: str, delay: float, aside: bool, unrun: bool, data: st.DataObject) -> None:
        claim = self.given[receipt]
        charged = data.draw(st.sampled_from([(), claim.jobs, claim.jobs[:1]]), label="charged")
        given = self.engine(which).nack(claim, delay=delay, charged=charged, error="failed", aside=aside, unrun=unrun)
        if self.verb(receipt, given):
            self.model.give_back(claim, {each.id for each in charged}, delay, aside=aside, unrun=unrun)

    @rule(which=engines, receipts=st.lists(claims, max_size=3, unique=True), lease=st.sampled_from([10.0, 60.0]))
    def extend(self, which: int, receipts: list[str], lease: float) -> None:
        asked = [self.given[receipt] for receipt in receipts]
        lost = self.engine(which).extend(asked, lease=lease)
        assert lost == [claim for claim in asked if not self.model.holds(claim.receipt)]
        for claim in asked:
            if claim not in lost:
                self.model.lane_of(claim).due_at = self.clock.now() + round(lease * 1000)

    # --- what operators do ---

    @rule(which=engines, data=st.data())
    @precondition(lambda self: self.model.jobs)
    def cancel(self, which: int, data: st.DataObject) -> None:
        job = self.model.jobs[data.draw(st.sampled_from(sorted(self.model.jobs)), label="job")]
        lane = self.model.lane_with(job)
        if lane is not None and job.id in lane.claimed and lane.due_at <= self.clock.now():
            return  # the contract leaves open whether a job whose lease ran out may be cancelled under its late worker
        cancelled = job.state is JobState.READY and lane is not None and job.id not in lane.claimed
        assert self.run(self.engine(which).cancel(JobFilter(ids=(job.id,)))) == cancelled
        if cancelled:
            self.model.cancel(job)

    @rule(which=engines, data=st.data())
    @precondition(lambda self: self.model.jobs)
    def retry_dead(self, which: int, data: st.DataObject) -> None:
        job = self.model.jobs[data.draw(st.sampled_from(sorted(self.model.jobs)), label="job")]
        revived = job.state in (JobState.DEAD, JobState.CANCELLED)
        assert self.run(self.engine(which).retry_dead(JobFilter(ids=(job.id,)))) == revived
        if revived:
            job.state, job.attempt, job.finished_at = JobState.READY, 0, None
            self.model.line_up(job, self.clock.now())
            self.model.kick(job.lane)

    @rule(which=engines, data=st.data())
    @precondition(lambda self: self.model.jobs)
    def run_now(self, which: int, data: st.DataObject) -> None:
        job = self.model.jobs[data.draw(st.sampled_from(sorted(self.model.jobs)), label="job")]
        lane = self.model.lane_with(job) if job.state is JobState.READY else None
        moved = lane is not None and (lane.receipt is not None or lane.due_at > self.clock.now())
        assert self.run(self.engine(which).run_now(JobFilter(ids=(job.id,)))) == moved
        if moved:
            if lane is self.model.aside.get(job.lane):
                self.model.rejoin(job.lane)
            self.model.kick(job.lane)

    @rule(which=engines, older_than=st.sampled_from([5.0, 100.0]))
    def prune(self, which: int, older_than: float) -> None:
        horizon = self.clock.now() - round(older_than * 1000)
        old = [
            job.id
            for job in self.model.jobs.values()
            if job.state in (JobState.DONE, JobState.CANCELLED) and (job.finished_at or 0) < horizon
        ]
        assert self.run(self.engine(which).prune(older_than=older_than)) == len(old)
        for job_id in old:
            self.model.forget(job_id)

    @rule(seconds=st.sampled_from([0.001, 1.0, 9.999, 10.0, 61.0, 590.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(which=engines)
    def die(self, which: int) -> None:
        """With whatever it has claimed; another one takes its place."""
        self.run(self.opened[which].close())
        self.dead.add(self.name(which))
        self.lives[which] += 1
        self.opened[which] = self.start(which)

    @rule(which=engines)
    def recover(self, which: int) -> None:
        expected = self.model.recover(self.dead)
        engine = self.engine(which)
        assert self.run(recovered(engine) if expected else engine.recover()) == expected

    # --- how the machine asks ---

    def verb(self, receipt: str, work: Coroutine[Any, Any, T]) -> list[T]:
        """Runs it: the one thing it gave, or nothing when it rightly refused a stale receipt."""
        if self.model.holds(receipt):
            return [self.run(work)]
        with pytest.raises(LeaseLost):
            self.run(work)
        return []

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
        for job in self.model.jobs.values():
            lane = self.model.lane_with(job) if job.state is JobState.READY else None
            running = lane is not None and job.id in lane.claimed and lane.due_at > now
            due_at = lane.due_at if lane is not None else None
            expected[job.id] = (job.kind, job.state, job.attempt, running, due_at, job.finished_at)
        assert actual == expected
        assert len(seen) == len(actual)

    @invariant()
    def lanes_with_jobs_are_busy(self) -> None:
        if self.opened:
            busy = set(LANES) & {*self.model.lanes, *self.model.aside}
            assert self.run(self.engine(1).busy(sorted(LANES))) == busy

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
        waits = [max(0, lane.due_at - self.clock.now()) / 1000 for lane in self.model.all_lanes()]
        assert self.run(self.engine(0).next_due()) == min(waits, default=None)

    def expected_stats(self, kind: str) -> tuple[int, int, int, int]:
        ready = scheduled = running = dead = 0
        for job in self.model.jobs.values():
            if job.kind != kind:
                continue
            dead += job.state is JobState.DEAD
            lane = self.model.lane_with(job) if job.state is JobState.READY else None
            if lane is None:
                continue
            waits = lane.due_at > self.clock.now()
            running += waits and job.id in lane.claimed
            scheduled += waits and lane.receipt is None
            ready += not waits or (lane.receipt is not None and job.id not in lane.claimed)
        return ready, scheduled, running, dead

    def drain(self) -> None:
        """Whatever happened before: all that is unfinished comes, each lane in its order, and then nothing is left."""
        self.clock.advance(3600.0)
        self.model.rejoin_due()
        expected = {key: list(lane.jobs) for key, lane in self.model.lanes.items()}
        came: dict[str, list[str]] = {}
        drain = self.engine(0)
        while claims := self.run(drain.claim(100, lease=60.0, worker="drain", reserve=9, together=frozenset(KINDS))):
            for claim in claims:
                came.setdefault(self.model.jobs[claim.jobs[0].id].lane, []).extend(each.id for each in claim.jobs)
                self.run(acked(drain, claim))
        assert came == expected
        assert self.run(self.engine(1).count(JobFilter(states=(JobState.READY,)))) == 0


def test_any_order_of_calls_keeps_the_contract(engine_name: str, engine_server: None) -> None:
    machine = type(f"{engine_name.title()}Machine", (QueueMachine,), {"engine_name": engine_name})
    run_state_machine_as_test(machine, settings=depth(engine_name))
