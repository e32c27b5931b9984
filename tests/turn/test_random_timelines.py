"""Random timelines on one file: two workers, killed and stopped at any step, and people who write, stop and start.

Unanswered, blind, doubled, out of order, sent after a STOP: none of it, whatever came between which two steps.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from convoq.ai.base import ReplyContext
from convoq.conversations.turns import MOST_SUPERSEDED
from convoq.db import Database
from convoq.errors import RetryLater
from convoq.loopback.faults import reset, too_many
from convoq.queue.base import Claim, JobFilter, JobState
from convoq.settings import ConversationSettings
from tests.clock import ManualClock
from tests.handlers.house import ANA, BEN, House, open_house, waiting
from tests.stores import on_each
from tests.turn.confirming import NumberedConfirmations
from tests.turn.timeline import block, unblock

SEEDS = 60
STEPS = 60
LEASE = 61.0
TIMING = ConversationSettings(quiet_window=1, max_wait=6)


# What became of each message, and whether a STOP or a block kept its reply back.
BECAME = """
    SELECT m.body, m.outcome, EXISTS (SELECT 1 FROM outbox AS o WHERE o.message_id = m.answered_by
                                      AND o.state = 'failed' AND o.error_code IN ('opted_out', 'blocked'))
    FROM messages AS m WHERE m.direction = 'in'
"""


class Timeline:
    """One run. Every step of a turn may stop, for ever (a kill) or for a while (a late worker)."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.chance = random.Random(seed)
        self.written = 0
        self.told: list[str] = []  #: for who has to find out
        self.stopped: list[asyncio.Event] = []  #: workers that go on later
        self.tasks: list[asyncio.Task[None]] = []
        self.calm = False
        for owner, names in ((house.turns, ("look", "commit")), (house.outbox, ("mark_sending", "mark_sent"))):
            for name in names:
                self.disturb(owner, name)
        self.disturb(house.channel, "send")
        house.responder.always = self.answer

    def disturb(self, owner: object, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        async def disturbed(*args: Any, **options: Any) -> Any:
            await self.interrupt(f"before {name}")
            result = await original(*args, **options)
            await self.interrupt(f"after {name}")
            return result

        setattr(owner, name, disturbed)

    async def interrupt(self, where: str) -> None:
        if self.calm or self.chance.random() > 0.12:
            return
        if self.chance.random() < 0.5:
            await self.write()
            return
        self.told.append(f"a worker stops {where}")
        going_on = asyncio.Event()
        if not where.endswith(" send"):  # to go on there is the one declared window: it is killed instead
            self.stopped.append(going_on)
        self.paused.set()
        await going_on.wait()

    async def answer(self, context: ReplyContext) -> str:
        await self.interrupt("in the model")
        if not self.calm and self.chance.random() < 0.1:
            raise self.chance.choice([RetryLater(2, "busy"), RuntimeError("broken")])
        return " ".join(f"<{text}>" for text in waiting(context))

    async def write(self) -> None:
        person = self.chance.choice([ANA, BEN])
        text = self.chance.choices(["STOP", "START", None], [1, 1, 10])[0]
        if text is None:
            self.written += 1
            text = f"{person[-1]}.{self.written}"
        self.told.append(f"{text} of {person[-1]}")
        await self.house.hear_at_once(text, sender=person)

    async def work(self) -> None:
        """One round of a worker: each claim until it ends or stops."""
        for claim in await self.house.claim(100):
            await self.run(claim)

    async def run(self, claim: Claim) -> None:
        self.paused = asyncio.Event()
        task = asyncio.create_task(self.house.handle(claim))
        self.tasks.append(task)
        pausing = asyncio.create_task(self.paused.wait())
        await asyncio.wait({task, pausing}, return_when=asyncio.FIRST_COMPLETED)
        pausing.cancel()

    async def go_on(self) -> None:
        """A worker that had stopped, its lease over perhaps, goes on to its next stop or its end."""
        self.told.append("a worker goes on")
        self.paused = asyncio.Event()
        self.stopped.pop(self.chance.randrange(len(self.stopped))).set()
        for _ in range(50):
            await asyncio.sleep(0)  # turns of the loop: where it stops next has no state to wait for

    async def step(self) -> None:
        house = self.house
        match self.chance.randrange(10):
            case 0 | 1 | 2:
                await self.write()
            case 3 | 4 | 5:
                await self.work()
            case 6 if self.stopped:
                await self.go_on()
            case 7:
                house.twilio.fail_next(self.chance.choice([reset(accepted=True), reset(accepted=False), too_many("1")]))
            case 8:
                person, at = self.chance.choice([(ANA, house.clock.now()), (ANA, None), (BEN, None)])
                self.told.append(f"{person[-1]} is {'blocked' if at else 'not blocked'}")
                await (block if at else unblock)(house, person)
            case _:
                house.clock.advance(self.chance.choice([0.1, 1.5, 7, LEASE]))

    async def end(self) -> None:
        """Nothing disturbs any more; who opted out or was blocked comes back; the workers that stopped stay dead."""
        self.calm = True
        self.house.twilio._next_faults.clear()
        self.house.delivery._breakers.clear()  # a killed worker's is gone with it, and the probe that it had begun
        for person in (ANA, BEN):
            await unblock(self.house, person)
            await self.house.hear("START", sender=person)
        for _ in range(4):
            self.house.clock.advance(LEASE)
            await self.house.settle()
        while any(dead.state is JobState.DEAD for dead in await self.house.dead()):
            await self.house.engine.retry_dead(JobFilter(states=(JobState.DEAD,)))
            await self.house.settle()

    async def check(self) -> None:
        house, said = self.house, " ".join(self.house.sent)
        assert await house.flaws() == []
        [(said_stop,)] = await house.rows("SELECT count(*) FROM messages WHERE body = 'STOP'")
        for text, outcome, stopped in await house.rows(BECAME):
            times = said.count(f"<{text}>")
            assert outcome is not None, f"{text} waits"
            if text not in ("STOP", "START"):
                assert times == (outcome == "answered" and not stopped), (
                    f"{text} ({outcome}) was answered {times} times"
                )
        confirmed = [body for body in house.sent if body.startswith("stopped")]
        assert len(confirmed) == len(set(confirmed)), "a STOP is confirmed twice"
        assert len(confirmed) <= said_stop, "more is confirmed than was said"
        await self.check_order()
        superseded = "SELECT count(*) FROM threads WHERE superseded > ?"
        assert await house.rows(superseded, MOST_SUPERSEDED + 1) == [(0,)]

    async def check_order(self) -> None:
        """Of one person's replies none overtook another."""
        places = {message.sid: place for place, message in enumerate(self.house.twilio.messages)}
        for thread in (1, 2):
            sent = await self.house.rows(
                "SELECT provider_id FROM outbox WHERE thread_id = ? AND state = 'sent' ORDER BY id", thread
            )
            order = [places[sid] for (sid,) in sent]
            assert order == sorted(order), "out of order"


@on_each("seed", sqlite=range(SEEDS), postgres=range(SEEDS // 6))
async def test_in_any_timeline_everything_is_answered_once_and_in_order(
    database: Database, clock: ManualClock, seed: int
) -> None:
    async with open_house(database, clock, timing=TIMING, confirmations=NumberedConfirmations()) as house:
        timeline = Timeline(house, seed)
        try:
            for _ in range(STEPS):
                await timeline.step()
            await timeline.end()
            await timeline.check()
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(timeline.told[-40:])) from error
        finally:
            for task in timeline.tasks:
                task.cancel()
            await asyncio.gather(*timeline.tasks, return_exceptions=True)
