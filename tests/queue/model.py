"""The queue as lanes in plain Python: what the engines are held against."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from convoq.jobs import INTAKE, INTAKE_KIND, NewJob
from convoq.queue.base import Claim, Job, JobState
from tests.clock import ManualClock

ALONE: Final = "alone "  #: how the model calls the lanes of jobs without a key
FADE: Final = 600_000  #: ms until crashes are forgotten


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
    worker: str | None = None
    claimed: list[str] = field(default_factory=list)  #: the unfinished jobs of the claim
    crashes: int = 0
    crashed_at: int = -FADE
    kicked: bool = False  #: since it was claimed: the claim's end makes it due

    def free(self, due_at: int, *, crashes: int = 0) -> None:
        self.receipt, self.worker, self.claimed, self.due_at, self.crashes = None, None, [], due_at, crashes
        self.kicked = False


class Model:
    """Every job, in its lane or beside it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.jobs: dict[str, ModelJob] = {}
        self.gone: set[str] = set()
        self.lanes: dict[str, ModelLane] = {}
        self.aside: dict[str, ModelLane] = {}
        self._places = itertools.count(1)

    # --- Looking

    def place(self, job_id: str) -> int:
        return self.jobs[job_id].place

    def lane_with(self, job: ModelJob) -> ModelLane | None:
        """Where an unfinished job stands."""
        aside = self.aside.get(job.lane)
        return aside if aside is not None and job.id in aside.jobs else self.lanes.get(job.lane)

    def all_lanes(self) -> Iterator[ModelLane]:
        return itertools.chain(self.lanes.values(), self.aside.values())

    def holds(self, receipt: str) -> bool:
        return any(lane.receipt == receipt for lane in self.lanes.values())

    def lane_of(self, claim: Claim) -> ModelLane:
        [lane] = [lane for lane in self.lanes.values() if lane.receipt == claim.receipt]
        return lane

    def due(self, limit: int, reserve: int) -> list[tuple[int, int]]:
        """The class and time of each lane that a claim takes, in its order."""
        due = sorted((lane.priority, lane.due_at) for lane in self.lanes.values() if lane.due_at <= self.clock.now())
        intake = [each for each in due if each[0] == INTAKE]
        return intake[:reserve] + due[len(intake) :][:limit]

    def crashes(self, lane: ModelLane) -> int:
        return lane.crashes if lane.crashed_at > self.clock.now() - FADE else 0

    def is_waiting(self, key: str, kind: str) -> bool:
        """Whether a job of this kind that is not under a claim stands in the lane."""
        lane = self.lanes.get(key)
        return lane is not None and any(self.jobs[each].kind == kind for each in lane.jobs if each not in lane.claimed)

    def front(self, line: Sequence[str], together: Collection[str]) -> list[str]:
        """The head of the line, and what may run beside it: its kind, and nothing that has failed twice."""
        head = self.jobs[line[0]]
        if head.attempt >= 2 or head.kind not in together:
            return [head.id]
        return list(itertools.takewhile(lambda each: self._may_join(head, each), line))

    def _may_join(self, head: ModelJob, job_id: str) -> bool:
        return self.jobs[job_id].kind == head.kind and self.jobs[job_id].attempt < 2

    # --- What happens

    def enqueue(self, new: NewJob, job_id: str) -> None:
        lane = new.ordering_key or f"{ALONE}{job_id}"
        self.jobs[job_id] = ModelJob(job_id, next(self._places), lane, new.kind, new.priority)
        self.line_up(self.jobs[job_id], self.clock.now() + round(new.delay * 1000))

    def line_up(self, job: ModelJob, due_at: int) -> None:
        line = self.lanes.setdefault(job.lane, ModelLane(due_at, job.priority)).jobs
        line.append(job.id)
        line.sort(key=self.place)

    def kick(self, key: str) -> None:
        lane = self.lanes.get(key)
        if lane is not None and lane.receipt is None:
            lane.due_at = self.clock.now()
        elif lane is not None:
            lane.kicked = True

    def charge(self, handed_out: Sequence[Job]) -> None:
        for each in handed_out:
            self.jobs[each.id].attempt += 1
            assert (each.attempt, each.kind) == (self.jobs[each.id].attempt, self.jobs[each.id].kind)

    def end(self, claim: Claim, jobs: Sequence[Job], state: JobState, *, forget: bool = False) -> None:
        lane = self.lane_of(claim)
        key = self.jobs[lane.claimed[0]].lane
        for each in jobs:
            if each.id in lane.claimed:
                lane.claimed.remove(each.id)
                lane.jobs.remove(each.id)
                self.jobs[each.id].state, self.jobs[each.id].finished_at = state, self.clock.now()
                if forget:
                    self.forget(each.id)
        if not lane.claimed:
            lane.free(self.clock.now())
            self.close_if_empty(key)

    def advance(self, claim: Claim, together: Collection[str], *, forget: bool) -> list[str]:
        """The jobs that it goes on with."""
        lane = self.lane_of(claim)
        rest = [job_id for job_id in lane.jobs if job_id not in lane.claimed]
        if len(claim.jobs) < len(lane.claimed) or not rest or self._is_less_urgent(lane, rest[0]):
            self.end(claim, claim.jobs, JobState.DONE, forget=forget)
            return []
        ended, lane.claimed = lane.claimed, self.front(rest, together)
        lane.jobs = rest
        for job_id in ended:
            self.jobs[job_id].state, self.jobs[job_id].finished_at = JobState.DONE, self.clock.now()
            if forget:
                self.forget(job_id)
        return lane.claimed

    def _is_less_urgent(self, lane: ModelLane, job_id: str) -> bool:
        return lane.priority == INTAKE and self.jobs[job_id].kind != INTAKE_KIND

    def give_back(self, claim: Claim, charged: Collection[str], delay: float, *, aside: bool, unrun: bool) -> None:
        lane, due_at = self.lane_of(claim), self.clock.now() + round(delay * 1000)
        key, claimed = self.jobs[lane.claimed[0]].lane, lane.claimed
        for job_id in claimed:
            self.jobs[job_id].attempt -= job_id not in charged
        if aside and not key.startswith(ALONE):
            self._put_aside(key, claimed, due_at)
            lane.free(self.clock.now())
            self.close_if_empty(key)
        else:
            lane.free(self.clock.now() if lane.kicked else due_at, crashes=lane.crashes if unrun else 0)

    def _put_aside(self, key: str, job_ids: list[str], due_at: int) -> None:
        beside = self.aside.setdefault(key, ModelLane(due_at, self.lanes[key].priority))
        beside.due_at = min(beside.due_at, due_at)
        beside.jobs += job_ids
        for job_id in job_ids:
            self.lanes[key].jobs.remove(job_id)

    def rejoin(self, key: str) -> None:
        for job_id in self.aside.pop(key).jobs:
            self.line_up(self.jobs[job_id], self.clock.now())

    def rejoin_due(self) -> None:
        for key in [key for key, lane in self.aside.items() if lane.due_at <= self.clock.now()]:
            self.rejoin(key)

    def recover(self, dead: Collection[str]) -> int:
        lost = [lane for lane in self.lanes.values() if lane.worker in dead]
        for lane in lost:
            lane.free(min(lane.due_at, self.clock.now()), crashes=self.crashes(lane) + 1)
            lane.crashed_at = self.clock.now()
        return len(lost)

    def cancel(self, job: ModelJob) -> None:
        lane = self.lane_with(job)
        assert lane is not None
        job.state, job.finished_at = JobState.CANCELLED, self.clock.now()
        if job.id == lane.jobs[0] and lane.receipt is None and lane is self.lanes.get(job.lane):
            lane.due_at = min(lane.due_at, self.clock.now())
        lane.jobs.remove(job.id)
        self.close_if_empty(job.lane)

    def forget(self, job_id: str) -> None:
        del self.jobs[job_id]
        self.gone.add(job_id)

    def close_if_empty(self, key: str) -> None:
        for lanes in (self.lanes, self.aside):
            if key in lanes and not lanes[key].jobs:
                del lanes[key]
