"""A foreign program holds the database: webhooks hear 503 in time, nothing hangs, work resumes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from tests.fire import lock_holder
from tests.fire.audit import settle
from tests.fire.crowd import Crowd, Try, first_200, tries_between
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site

HOLD = 8.0  # seconds; longer than busy_timeout, well within Twilio's patience
PROMISE = 5.0  # seconds within which a webhook is answered, whatever holds the file
SLACK = 0.5  # seconds that a busy machine may add, to an answer or to our knowledge of the lock's end
EXPLAINED = {
    "job.outcome_unrecorded": "the file was held while a job ended: its lease ran out and it was claimed again",
    "another program holds the database": "a process was started while the file was held: it says so and exits with 75",
}


async def locks(plan: Plan) -> Section:
    section = Section("locks", f"a foreign process holds BEGIN EXCLUSIVE for {HOLD:g} s")
    async with open_site(plan.directory, CONVOQ_QUEUE__VISIBILITY_TIMEOUT="2") as site:
        crowd = Crowd(site, plan.rng, size=10, think=0.3)
        plan.begin()
        holds = []
        async with crowd.writing():
            while await plan.wait(1.0):
                holds.append(await _hold(site))
                section.count("locks held")
                plan.doing(f"{len(holds)} locks")
                await site.until(partial(_is_answered, crowd, holds[-1][1]), "a 200 after the lock was released")
        for begin, end in holds:
            _check(section, tries_between(crowd.messages, begin, end), begin, end, crowd)
        await settle(site, crowd, section, explained=EXPLAINED)
    return section


def _is_answered(crowd: Crowd, since: float) -> bool:
    return first_200(crowd.messages, since) is not None


async def _hold(site: Site) -> tuple[float, float]:
    """From when until when the lock was held."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(lock_holder.__file__)), str(site.database), str(HOLD), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        await holder.stdout.readline()
        begin = monotonic()
        await holder.wait()
        return begin, begin + HOLD
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.wait()


def _check(section: Section, tries: Sequence[Try], begin: float, end: float, crowd: Crowd) -> None:
    for one in tries:
        section.time("a webhook's answer while the file is held", one.ended - one.began)
    hung = [one for one in tries if one.status is None or one.ended - one.began > PROMISE + SLACK]
    section.expect(not hung, f"{len(hung)} webhooks had no answer within {PROMISE:g} s")
    within = [one for one in tries if one.began > begin and one.ended < end - SLACK]
    section.expect(
        {one.status for one in within} == {503}, f"while held: {sorted({str(one.status) for one in within})}"
    )
    section.time("from the release to the first 200", (first_200(crowd.messages, end) or float("inf")) - end)
