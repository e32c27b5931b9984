"""Every process is killed again and again at random points of its life, under load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from convoq.loopback import faults
from convoq.loopback.faults import ModelFault
from tests.fire.audit import settle
from tests.fire.crowd import Crowd
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.roles import SupervisedRole
from tests.fire.site import Site, open_site

LIVES = {"serve": 3.0, "schedule": 0.3, "work": 0.8}  # seconds at work before the next kill, on average
TALLY = (
    "SIGKILLs", "  of serve", "  of schedule", "  of work", "  while starting", "lanes in the hands of a killed worker",
)  # fmt: skip
UNBORN = 0.25  # the share of kills that come while the process is still starting
BLACKOUT = 15.0  # seconds between two kills of everything at once, on average
LATEST_RECOVERY = 2.0  # seconds from a worker's death to the next claim of its lanes; a lease is 60 s
LOOK = 0.05  # seconds between two looks at them


async def kills(plan: Plan) -> Section:
    section = Section("kills", "SIGKILL of serve, schedule and work at random points, restarted at once")
    async with open_site(plan.directory, engine=plan.engine, modelled=plan.number % 3 == 2) as site:
        _unhurried(site, plan)
        crowd = Crowd(site, plan.rng, size=16)
        section.counts.update(dict.fromkeys(TALLY, 0))
        plan.begin()
        async with recoveries(site, section) as watch:
            async with crowd.writing():
                targets = ([site.roles["serve"]], [site.roles["schedule"]], site.workers)
                killers = [_kill(plan, watch, roles, random.Random(plan.rng.random())) for roles in targets]
                await asyncio.gather(*killers, _black_out(plan, watch, site, random.Random(plan.rng.random())))
            await settle(site, crowd, section)
        _check(site, section, plan.bar(LATEST_RECOVERY) + watch.lateness)
    return section


def _unhurried(site: Site, plan: Plan) -> None:
    """Twilio and the model take their time, so that kills find turns in every step; callbacks prove sends or do not."""
    site.twilio.fault = faults.slow(plan.rng.choice((0.05, 0.25)))
    site.model.mode = ModelFault.SLOW
    site.twilio.delivery = plan.rng.choice(((), (("sent", None), ("delivered", None))))


async def _kill(plan: Plan, watch: Watch, roles: Sequence[SupervisedRole], rng: random.Random) -> None:
    """One of the roles dies at a time; mostly while all of them are at work, so that another can take over."""
    life = LIVES[roles[0].kind]
    while plan.left() > 0:
        unborn = rng.random() < UNBORN
        while not (unborn or all(role.ready for role in roles)) and await plan.wait(0.05):
            pass
        if await plan.wait(rng.uniform(0, life) if unborn else rng.expovariate(1 / life)):
            watch.strike([rng.choice(roles)])
            plan.done = watch.kills
            plan.doing(f"{watch.kills} kills")


async def _black_out(plan: Plan, watch: Watch, site: Site, rng: random.Random) -> None:
    while await plan.wait(rng.expovariate(1 / BLACKOUT)):
        watch.strike(list(site.roles.values()))


def _check(site: Site, section: Section, latest: float) -> None:
    ends = {role.name: role.unplanned for role in site.roles.values() if role.unplanned}
    section.expect(not ends, f"processes ended by themselves: {ends}")
    slow = [seconds for seconds in section.times.get("a dead worker's lanes claimed again", ()) if seconds > latest]
    section.expect(not slow, f"recovery took longer than {latest:.2f} s: {[round(value, 2) for value in slow]}")


@dataclass
class _Orphan:
    """A job whose worker was killed."""

    receipt: str
    died_at: int  # ms, the queue's clock
    witnesses: tuple[tuple[SupervisedRole, int], ...]  # workers that could take it, with their process ids

    @property
    def could_be_taken(self) -> bool:
        return any(role.pid == pid for role, pid in self.witnesses)


class Watch:
    """Kills, and measures when the jobs of dead workers are claimed again."""

    def __init__(self, site: Site, section: Section) -> None:
        self._site = site
        self._section = section
        self._reads_claims = not site.engine.servers  # who holds which lane is read in the file alone
        self._orphans: dict[int, _Orphan] = {}
        self.lateness = 0.0  #: at most, of its looks, in seconds: a machine that lets it wait lets workers wait as well

    @property
    def kills(self) -> int:
        return self._section.counts["SIGKILLs"]

    def strike(self, roles: Sequence[SupervisedRole]) -> None:
        died_at = self._site.queue_now() if self._reads_claims else 0
        for role in roles:
            starting = not role.ready
            pid = role.kill()
            if pid is None:
                continue
            self._section.count("SIGKILLs")
            self._section.count(f"  of {role.kind}")
            self._section.count("  while starting", starting)
            if role.kind == "work" and self._reads_claims:
                self._note_orphans(pid, died_at, [other for other in self._site.workers if other not in roles])

    def _note_orphans(self, pid: int, died_at: int, others: Sequence[SupervisedRole]) -> None:
        witnesses = tuple((role, role.pid) for role in others if role.ready and role.pid is not None)
        for job_id, receipt in self._site.rows(ORPHANS, f"%-{pid}-%"):
            self._orphans[job_id] = _Orphan(receipt, died_at, witnesses)
            self._section.count("lanes in the hands of a killed worker")

    async def look(self) -> None:
        """Looks for those that have been claimed again."""
        while True:
            asked = monotonic()
            await asyncio.sleep(LOOK)  # other processes write the rows: they can only be looked at
            self.lateness = max(self.lateness, monotonic() - asked - LOOK)
            if not self._reads_claims:
                continue
            marks = ",".join("?" * len(self._orphans))
            found = self._site.rows(f"SELECT id, receipt, claimed_at FROM jobs WHERE id IN ({marks})", *self._orphans)
            for job_id in self._orphans.keys() - {row[0] for row in found}:
                del self._orphans[job_id]  # claimed and finished between two looks: turns leave no row
            for job_id, receipt, claimed_at in found:
                orphan = self._orphans[job_id]
                if receipt != orphan.receipt:
                    self._taken(job_id, orphan, (claimed_at - orphan.died_at) / 1000)

    def _taken(self, job_id: int, orphan: _Orphan, seconds: float) -> None:
        del self._orphans[job_id]
        alone = not orphan.could_be_taken
        name = "claimed again after both workers were dead" if alone else "a dead worker's lanes claimed again"
        self._section.time(name, max(seconds, 0.0))


@asynccontextmanager
async def recoveries(site: Site, section: Section) -> AsyncIterator[Watch]:
    watch = Watch(site, section)
    looking = asyncio.create_task(watch.look())
    try:
        yield watch
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


# The front of each lane: what stood behind it in the claim may have to wait for it.
ORPHANS = """
    SELECT min(jobs.id), jobs.receipt FROM jobs JOIN lanes ON lanes.id = jobs.lane_id AND lanes.receipt = jobs.receipt
    WHERE jobs.state = 'ready' AND lanes.worker LIKE ? GROUP BY jobs.lane
"""
