"""The power goes: every process and every byte that was not flushed are gone at once, and the machine comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from convoq.loopback import faults
from convoq.loopback.waiting import until
from tests.fire.audit import settle
from tests.fire.crowd import Crowd
from tests.fire.peers import TOKEN
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site
from tests.loop_image import KINDS, LoopImage, impossible, loop_image

LIFE = 1.0  # seconds at work before the next cut, on average
UNBORN = 0.2  # the share of cuts that come while the processes are still starting
START = 1.5  # seconds that a start may take
STANDSTILL = 0.2  # seconds for the processes to stand still; a thread that waits for the disk may take longer


async def cuts(plan: Plan) -> Section:
    """Rounds take turns: ext4, xfs."""
    kind = KINDS[plan.number % len(KINDS)]
    section = Section("cuts", "the power is cut under a loop image (FS_IOC_SHUTDOWN, without a flush)")
    if reason := impossible():
        section.skipped = reason
        return section
    plan.directory.mkdir(parents=True)
    with loop_image(plan.directory, kind) as image:
        # After a real cut the machine has another boot_id, which ends every lease; here they have to run out.
        async with open_site(
            plan.directory, database=image.place / "convoq.db", CONVOQ_QUEUE__VISIBILITY_TIMEOUT="2"
        ) as site:
            site.twilio.fault = faults.slow(0.1)
            site.twilio.delivery = plan.rng.choice(((), (("sent", None), ("delivered", None))))
            crowd = Crowd(site, plan.rng, size=16)
            plan.begin()
            async with crowd.writing():
                while plan.left() > 0:
                    await _live(plan, site)
                    section.count("acknowledged and unanswered at the cut", _unanswered(site, crowd))
                    await _cut(site, image)
                    section.count(f"power cuts on {kind}")
                    plan.done += 1
                    plan.doing(f"{plan.done} cuts on {kind}")
                await site.until_ready()
            await settle(site, crowd, section)
        ends = {role.name: role.unplanned for role in site.roles.values() if role.unplanned}
        section.expect(not ends, f"processes ended by themselves: {ends}")
    return section


async def _live(plan: Plan, site: Site) -> None:
    """How long the machine runs until the next cut."""
    if plan.rng.random() < UNBORN:
        await asyncio.sleep(plan.rng.uniform(0, START))
        return
    await site.until_ready()
    await asyncio.sleep(plan.rng.expovariate(1 / LIFE))


async def _cut(site: Site, image: LoopImage) -> None:
    """Stopped first: a process that ran on beside the cut could acknowledge what a real machine would not."""
    for role in site.roles.values():
        role.hold()
        role.pause()
    with suppress(TimeoutError):
        await until(lambda: all(role.stands_still for role in site.roles.values()), timeout=STANDSTILL, pause=0.001)
    image.cut()
    for role in site.roles.values():
        role.kill()
        role.resume()
    await site.until_down()
    await asyncio.to_thread(image.unmount)
    await asyncio.to_thread(image.mount)
    for role in site.roles.values():
        role.release()


def _unanswered(site: Site, crowd: Crowd) -> int:
    answered = {token for reply in site.twilio.messages for token in TOKEN.findall(reply.body)}
    return sum(message.accepted is not None and message.token not in answered for message in crowd.messages)
