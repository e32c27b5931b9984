"""Workers, the webhook API and Redis itself are killed at random: what was accepted is answered, once and in order."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, count
from pathlib import Path

import pytest

from tests.process.harness import Process, Site, open_site
from tests.servers.redis import RedisServer, running_redis

pytestmark = [pytest.mark.process, pytest.mark.fire, pytest.mark.long]

SECONDS = 12.0
LEASE = "2"
PEOPLE = [f"whatsapp:+1555123{number:04}" for number in range(12)]


class Chaos:
    """Harm, and people who write all the time."""

    def __init__(self, site: Site, redis: RedisServer) -> None:
        self.site = site
        self.redis = redis
        self.chance = random.Random(1)
        self.running: dict[str, Process] = {}
        self.harms: defaultdict[str, int] = defaultdict(int)
        self.accepted: defaultdict[str, list[str]] = defaultdict(list)

    async def begin(self) -> None:
        for name in ("serve", "work", "work 2"):
            self.running[name] = await self.site.start(name.split()[0])
        await self.site.until_ready()

    async def harm(self, ends_at: float) -> None:
        names = ["redis", *self.running]
        # Each once at first: by chance alone a round of twelve seconds may leave one out.
        victims = chain(self.chance.sample(names, k=len(names)), (self.chance.choice(names) for _ in count()))
        while asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(self.chance.uniform(0.3, 1.0))
            name = next(victims)
            self.harms[name] += 1
            if name == "redis":
                self.redis.stop(signal.SIGKILL)
                await asyncio.sleep(self.chance.uniform(0.0, 0.5))
                self.redis.start()
            else:
                self.running[name].kill()

    @asynccontextmanager
    async def kept_running(self) -> AsyncIterator[None]:
        """As systemd does: what has ended is started again, also what gave up because Redis was down."""
        keepers = [asyncio.create_task(self._keep(name)) for name in self.running]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, name: str) -> None:
        while True:
            await self.running[name].wait()
            self.running[name] = await self.site.start(name.split()[0])

    async def write(self, person: str, ends_at: float) -> None:
        number = 0
        while asyncio.get_running_loop().time() < ends_at:
            number += 1
            text = f"message {number}"
            if (await self.site.say(text, sender=person)).status == 200:
                self.accepted[person].append(text)
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))


async def test_what_was_accepted_is_answered_once_and_in_order(tmp_path: Path) -> None:
    settings = {"CONVOQ_QUEUE__ENGINE": "redis", "CONVOQ_QUEUE__VISIBILITY_TIMEOUT": LEASE}
    with running_redis() as redis:
        async with open_site(tmp_path, CONVOQ_REDIS__URL=redis.url, **settings) as site:
            chaos = Chaos(site, redis)
            await chaos.begin()
            ends_at = asyncio.get_running_loop().time() + SECONDS
            async with chaos.kept_running():
                await asyncio.gather(chaos.harm(ends_at), *(chaos.write(person, ends_at) for person in PEOPLE))
                await site.until_ready()
                await site.until(lambda: not site.rows(OPEN), "all that was recorded is answered")
                await site.until(lambda: recorded(site, chaos), "all that was accepted is recorded")
                await site.until(lambda: not site.rows(OPEN), "all of it is answered")
            assert set(chaos.harms) == {"redis", "serve", "work", "work 2"}, chaos.harms
            assert outcomes(site) == {"answered"}
            sent = [message.sid for message in site.twilio.messages]
            assert sorted(sent) == sorted(sid for (sid,) in site.rows("SELECT provider_id FROM outbox"))
            places = {sid: place for place, sid in enumerate(sent)}
            for (thread,) in site.rows("SELECT id FROM threads"):
                order = [places[sid] for (sid,) in site.rows(IN_ORDER, thread)]
                assert order == sorted(order), "out of order"


def recorded(site: Site, chaos: Chaos) -> bool:
    bodies = defaultdict(set)
    for address, body in site.rows(BODIES):
        bodies[address].add(body)
    return all(set(texts) <= bodies[person] for person, texts in chaos.accepted.items())


def outcomes(site: Site) -> set[str]:
    return {outcome for (outcome,) in site.rows("SELECT DISTINCT outcome FROM messages WHERE direction = 'in'")}


OPEN = """
    SELECT 1 FROM messages WHERE direction = 'in' AND outcome IS NULL
    UNION ALL SELECT 1 FROM outbox WHERE state <> 'sent'
"""
BODIES = """
    SELECT c.address, m.body FROM messages AS m JOIN threads AS t ON t.id = m.thread_id
    JOIN contacts AS c ON c.id = t.contact_id WHERE m.direction = 'in'
"""
IN_ORDER = "SELECT provider_id FROM outbox WHERE thread_id = ? ORDER BY id"
