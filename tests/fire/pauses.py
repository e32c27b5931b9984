"""Workers are stopped beyond their lease at random moments, and woken again when others have taken over."""

from __future__ import annotations

import asyncio
import random

from convoq.loopback import faults
from convoq.loopback.faults import ModelFault
from tests.fire.audit import settle
from tests.fire.crowd import Crowd
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.roles import SupervisedRole
from tests.fire.site import open_site

LEASE = 1.0  # seconds


async def pauses(plan: Plan) -> Section:
    section = Section("pauses", f"SIGSTOP of workers for longer than their lease of {LEASE:g} s, then SIGCONT")
    modelled = plan.number % 3 == 2
    async with open_site(
        plan.directory, engine=plan.engine, modelled=modelled,
        CONVOQ_QUEUE__VISIBILITY_TIMEOUT=f"{LEASE:g}",
    ) as site:  # fmt: skip
        # Slow enough that most stops find a turn between its request and Twilio's answer.
        site.twilio.fault = faults.slow(0.2)
        site.model.mode = ModelFault.SLOW
        site.twilio.delivery = plan.rng.choice(((), (("sent", None), ("delivered", None))))
        crowd = Crowd(site, plan.rng)
        plan.begin()
        async with crowd.writing():
            await asyncio.gather(
                *(_harm(plan, section, role, random.Random(plan.rng.random())) for role in site.roles.values())
            )
        await settle(site, crowd, section)
        ends = {role.name: role.unplanned for role in site.roles.values() if role.unplanned}
        section.expect(not ends, f"processes ended by themselves: {ends}")
    return section


async def _harm(plan: Plan, section: Section, role: SupervisedRole, rng: random.Random) -> None:
    while await plan.wait(rng.expovariate(2.0 if role.kind == "work" else 0.1)):
        longest = 3.5 if role.kind == "work" else 1.5
        role.pause()
        section.count("pauses")
        section.count(f"  of {role.kind}")
        try:
            await asyncio.sleep(rng.uniform(1.3 * LEASE, longest * LEASE))  # how long it stands still: the harm
        finally:
            role.resume()
        plan.doing(f"{section.counts['pauses']} pauses")
