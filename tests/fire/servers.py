"""The servers that keep the queue and the conversations are stopped at once, or forget all, while people write."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import Final

import redis.asyncio

from tests.fire.audit import RECORDED, Forgotten, settle
from tests.fire.crowd import Crowd, first_200
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site
from tests.servers.redis import RedisServer

LONGEST_AWAY: Final = 2.0  # seconds
LAST_WORDS: Final = 99_999  # their number in each person's sequence
EXPLAINED: Final = {
    "job.outcome_unrecorded": "the server was away while a job ended: it is claimed again",
    "Connection refused": "a role was just starting when the server was stopped: it ends with 75",
    "not written within": "the server was away before the webhook could be answered",
}


async def servers(plan: Plan) -> Section:
    section = Section("servers", "immediate stop of PostgreSQL, SIGKILL of Redis, started again, under load")
    modelled = plan.number % 2 == 1
    async with open_site(plan.directory, engine=plan.engine, modelled=modelled) as site:
        crowd = Crowd(site, plan.rng, size=16)
        plan.begin()
        async with crowd.writing():
            while await plan.wait(plan.rng.uniform(0.5, 3.0)):
                name = plan.rng.choice(list(site.engine.servers))
                server = site.engine.servers[name]
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(plan.rng.uniform(0.0, LONGEST_AWAY))  # how long it is away: the harm
                await asyncio.to_thread(server.start)
                back = monotonic()
                section.count(f"stops of {name}")
                plan.done += 1
                plan.doing(f"{plan.done} stops")
                await site.until(partial(_is_answered, crowd, back), f"a 200 after {name} was back")
                answered = first_200(crowd.messages, back) or back
                section.time("from a server's return to the first 200", answered - back)
        await settle(site, crowd, section, explained=EXPLAINED)
        ends = {role.name: role.unplanned for role in site.roles.values() if role.unplanned}
        # A role that is just starting when the server is stopped ends with 75, and systemd starts it again.
        odd = {name: codes for name, codes in ends.items() if set(codes) != {75}}
        section.expect(not odd, f"processes ended by themselves: {odd}")
    return section


def _is_answered(crowd: Crowd, since: float) -> bool:
    return first_200(crowd.messages, since) is not None


async def flushes(plan: Plan) -> Section:
    """What was enqueued alone is lost with the queue, and counted; whatever the store has is answered once."""
    section = Section("flushes", "FLUSHALL of Redis under load: the queue forgets all, and the store nothing")
    async with open_site(plan.directory, engine=plan.engine, CONVOQ_QUEUE__VISIBILITY_TIMEOUT="5") as site:
        site.twilio.delivery = ()  # a status that is lost with the queue is asked for hours later
        crowd = Crowd(site, plan.rng, size=16)
        plan.begin()
        async with crowd.writing():
            while await plan.wait(plan.rng.uniform(0.5, 2.0)):
                await _flush(site)
                plan.done += 1
                section.count("flushes")
                plan.doing(f"{plan.done} flushes")
        # The repair finds who waits without a job after minutes; whoever writes again is answered at once.
        await asyncio.gather(*(crowd.say(number, "are you there?", LAST_WORDS) for number in range(16)))
        await site.until(site.engine.queue.is_quiet, "the queue is empty")
        recorded = {str(source).rpartition(":")[2] for (source,) in site.rows(RECORDED)}
        lost = [message.token for message in crowd.messages if message.sid not in recorded]
        section.count("accepted, and lost with the queue", len(lost))
        # Who held which lane is forgotten too: what two workers then record side by side is in no order.
        every = {message.token for message in crowd.messages}
        await settle(site, crowd, section, revived=every, forgotten=Forgotten(tokens=frozenset(lost)))
    return section


async def _flush(site: Site) -> None:
    server = site.engine.servers["Redis"]
    assert isinstance(server, RedisServer)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.flushall()
