"""One person, two workers and an operator, in an order that chance decides; each of their steps is watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

from convoq.ai.base import ReplyContext
from convoq.clock import WallClock
from convoq.conversations.handing_over import HandoverRules
from convoq.conversations.owner_timers import OwnerTimers
from convoq.conversations.ownership import ActRefused
from convoq.conversations.pausing import EVERYWHERE, number_scope
from convoq.conversations.repair import Repair
from convoq.db.transaction import Transaction
from convoq.errors import RetryLater, Unrecoverable
from convoq.handlers.receive import enqueue_turns
from convoq.loopback.faults import error, garbage, refused, reset, too_many
from convoq.queue.base import JobFilter
from tests.handlers.house import OURS, House
from tests.handovers import GIVE_BACK_WITHIN, SILENT_WITHIN, TAKEN_WITHIN
from tests.turn.stepping import SteppedWorker, Steps, stepping
from tests.turn.watching import Snapshot, Violation, Watch, require

ALSO_OURS = "whatsapp:+15550008888"
ACTS = 90
LONGEST_END = 400  # steps until everything has come to rest; a run that needs more turns in circles
NAMES = ("Marta", "Luis")
USUAL: Mapping[str, int] = {}
FAULTS = (
    *(error(accepted=True), error(accepted=False), reset(accepted=True), reset(accepted=False)),
    *(garbage(accepted=True), too_many("1"), refused(30008)),
)


class Timeline:
    """One run. Every choice is the seed's."""

    def __init__(
        self,
        house: House,
        seed: int,
        handover: HandoverRules,
        *,
        acts: int = ACTS,
        often: Mapping[str, int] = USUAL,
    ) -> None:
        self.house = house
        self.acts = acts
        self.often = often  #: how many times as often as else, by the name of the act
        self.interrupted = 0  #: take-overs that came while the AI had something to say
        self.chance = random.Random(seed)
        self.person = f"whatsapp:+1555{seed:07d}"
        self.watch = Watch(house, max_wait=round(house.turns._rules.max_wait), handover=handover)
        self.steps: Steps
        self.written = 0
        self.texts: dict[str, tuple[str, str]] = {}  #: SID -> what was written, and to which address
        self.causes: set[str] = set()
        self.calm = False
        self.running: SteppedWorker | None = None  #: changed seldom: one gets far while another stands
        self.fails = self.chance.choice([0.1, 0.1, 0.5])

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(self.watch.close)
            self.steps = await stack.enter_async_context(stepping(self.house, self.watch))
            self.house.responder.always = self.answer
            try:
                for _ in range(self.acts):
                    await self.act()
                await self.end()
            except AssertionError as violation:
                timeline = "\n".join(self.watch.told)
                raise Violation(f"{violation}\n{timeline}") from violation

    def answer(self, context: ReplyContext) -> str:
        if not self.calm and self.chance.random() < self.fails:
            raise self.chance.choice([RetryLater(2, "busy"), RuntimeError("broken"), Unrecoverable("never")])
        return self.watch.answered_with(context)

    async def act(self) -> None:
        acts: list[tuple[int, Callable[[], Any]]] = [
            (9, self.write), (1, self.redeliver), (1, self.stop), (1, self.start), (20, self.take), (80, self.go),
            (3, self.kill), (6, self.stall), (5, self.wait), (1, self.take_over), (1, self.hand_back), (3, self.cancel),
            (2, self.retry), (1, self.discard), (3, self.notify), (1, self.lose_jobs), (1, self.repair),
            (4, self.fault), (1, self.block), (1, self.unblock), (1, self.reply), (1, self.ask_for_person),
            (1, self.wait_long), (1, self.pause), (1, self.resume), (1, self.leave),
        ]  # fmt: skip
        weights = [weight * self.often.get(act.__name__, 1) for weight, act in acts]
        [(_, act)] = self.chance.choices(acts, weights)
        await act()

    # --- The person

    async def write(self) -> None:
        self.written += 1
        await self.hear(f"m{self.written}")

    async def ask_for_person(self) -> None:
        self.causes.add("human")
        await self.hear("human please")

    async def stop(self) -> None:
        self.causes.add("opted_out")
        await self.hear("STOP")

    async def start(self) -> None:
        await self.hear("START")

    async def hear(self, text: str) -> None:
        sid = self.house.twilio.new_sid()
        ours = ALSO_OURS if self.chance.random() < 0.15 else OURS
        self.watch.accepted[sid] = await self.house.hear(text, sender=self.person, to=ours, sid=sid)
        self.texts[sid] = (text, ours)
        self.seen(f"hears {text}")
        if self.chance.random() < 0.6 and not any(worker.takes_in for worker in self.alive()):
            await self.house.take_in()
            self.seen("and takes it in")

    async def redeliver(self) -> None:
        """Twilio does not know that it was taken; once in a while not even the queue does."""
        if self.texts:
            sid = self.chance.choice(list(self.texts))
            text, ours = self.texts[sid]
            await self.house.hear(text, sender=self.person, to=ours, sid=sid, dedup=self.chance.random() < 0.3)
            self.seen(f"hears {text} again")

    # --- The workers

    def alive(self) -> list[SteppedWorker]:
        return [worker for worker in self.steps.workers if not (worker.done or worker.dead)]

    async def take(self) -> None:
        intake = self.chance.random() < 0.3
        busy = sum(worker.takes_in == intake and not worker.stalled for worker in self.alive())
        if busy < 2:
            for claim in await self.house.claim(0 if intake else 1, reserve=1 if intake else 0):
                worker = await self.steps.start(claim)
                self.seen(f"{worker.name} claims {claim.kind} x{len(claim.jobs)}")

    async def go(self) -> None:
        if workers := self.alive():
            if self.running not in workers or self.chance.random() < 0.2:
                self.running = self.chance.choice(workers)
            worker = self.running
            step = self.chance.choice(sorted(worker.at)) if self.chance.random() < 0.2 else None
            await worker.go(step)
            self.watch.raise_violation()
            if worker.done:
                self.seen(f"{worker.name} ends")

    async def kill(self) -> None:
        if workers := self.alive():
            worker = self.chance.choice(workers)
            worker.kill()
            if noticed := self.chance.random() < 0.6:
                await self.steps.recover(worker)
            self.seen(f"{worker.name} is killed before {sorted(worker.at)}{', noticed' if noticed else ''}")

    async def stall(self) -> None:
        """It loses its lane, and goes on later if it is not killed; at times it has stood still for as long as that."""
        if workers := self.alive():
            worker = self.chance.choice(workers)
            worker.stalled = True
            if slept := self.chance.random() < 0.4:
                await self.steps.advance(self.house.queue.lease + 1)
            else:
                await self.steps.recover(worker)
            self.seen(f"{worker.name} {'stalls' if slept else 'loses its lane'} before {sorted(worker.at)}")

    async def wait(self) -> None:
        seconds = self.chance.choice([0.1, 1, 2, 3, 6, 16, 30])
        await self.steps.advance(seconds)
        self.seen(f"{seconds} s pass")

    # --- People of ours

    async def take_over(self) -> None:
        self.causes.add("human")
        name = self.chance.choice(NAMES)
        for thread, conversation in self.watch.now.open_conversations():
            before = self.watch.now
            with suppress(ActRefused):
                await self.house.acts(name).take_over(conversation, force=self.chance.random() < 0.5)
                self.seen(f"{name} takes over")
                self.taken_over(thread, before)

    async def leave(self) -> None:
        """To a colleague, or to nobody."""
        self.causes |= {"human", "no_reply"}
        for thread, conversation in self.watch.now.open_conversations():
            before, acts = self.watch.now, self.house.acts()
            with suppress(ActRefused):
                await self.chance.choice([acts.leave, acts.set_aside])(conversation, force=True)
                self.seen("leave")
                self.taken_over(thread, before)

    async def hand_back(self) -> None:
        for _, conversation in self.watch.now.open_conversations():
            with suppress(ActRefused):
                await self.house.acts().release(conversation, force=True)
                self.seen("hand back")

    async def reply(self) -> None:
        self.causes.add("human")
        for thread, conversation in self.watch.now.open_conversations()[:1]:
            before = self.watch.now
            self.written += 1
            with suppress(ActRefused):
                await self.house.acts().reply(conversation, f"o{self.written}", force=self.chance.random() < 0.5)
                self.seen(f"Marta writes o{self.written}")
                self.taken_over(thread, before)

    def taken_over(self, thread: int, before: Snapshot) -> None:
        self.interrupted += bool(before.waiting(thread) or before.pending(thread))
        self.watch.take_over(thread, before)

    async def wait_long(self) -> None:
        """Nobody comes, or one of ours is silent."""
        await self.steps.advance(self.chance.choice([TAKEN_WITHIN, SILENT_WITHIN, GIVE_BACK_WITHIN]))
        await self.go_on_by_themselves()

    async def go_on_by_themselves(self) -> None:
        timers = OwnerTimers(self.house.database, WallClock(), self.watch.handover)
        moved = await timers.run(partial(enqueue_turns, self.house.joined), limit=100)
        self.seen("hand back" if moved else "no hand-over is due")

    async def pause(self) -> None:
        self.causes.add("human")
        with suppress(ActRefused):
            await self.house.acts().pause(self.chance.choice([EVERYWHERE, number_scope(OURS)]))
            self.seen("pause")

    async def resume(self) -> None:
        for scope in (EVERYWHERE, number_scope(OURS)):
            with suppress(ActRefused):
                await self.house.acts().resume(scope)
                self.seen("hand back")

    async def block(self) -> None:
        self.causes.add("blocked")
        await block(self.house, self.person)
        self.seen("block")

    async def unblock(self) -> None:
        await unblock(self.house, self.person)
        self.seen("unblock")

    async def notify(self) -> None:
        self.written += 1
        await self.house.send(f"n{self.written}", to=self.person)
        self.seen(f"we send n{self.written}")

    async def cancel(self) -> None:
        self.causes.add("cancelled")
        before, jobs = self.watch.now, await self.jobs("ready")
        for job_id, kind, thread in jobs[:1]:
            if await self.house.engine.cancel(JobFilter(ids=(job_id,))):
                self.watch.cancelled |= {f"job:{job_id}"}
                self.seen(f"cancel {kind}")
                if kind == "process_ai_response":
                    self.watch.check_settled(thread, before, authors=("ai",))

    async def retry(self) -> None:
        for job_id, _, _ in (await self.jobs("dead", "cancelled"))[:1]:
            self.watch.cancelled.discard(f"job:{job_id}")
            await self.house.engine.retry_dead(JobFilter(ids=(job_id,)))
            self.seen("retry")

    async def discard(self) -> None:
        self.causes.add("cancelled")
        for job_id, _, _ in (await self.jobs("dead", "cancelled", "done"))[:1]:
            await self.house.engine.discard(JobFilter(ids=(job_id,)))
            self.seen("discard")

    async def jobs(self, *states: str) -> list[tuple[str, str, int]]:
        """The person's jobs in the turns' lanes, in any order: id, kind, thread."""
        found = [
            (str(job_id), kind, thread)
            for thread, row in self.watch.now.threads.items()
            for job_id, kind, state in await self.house.rows(
                "SELECT id, kind, state FROM jobs WHERE lane = ?", row["lane"]
            )
            if state in states
        ]
        self.chance.shuffle(found)
        return found

    # --- What goes wrong

    async def lose_jobs(self) -> None:
        self.watch.jobs_lost = True
        for thread in self.watch.now.threads.values():
            await self.house.database.write(lose_jobs, thread["lane"])
        self.seen("the queue loses the turns that no worker has")

    async def repair(self) -> None:
        wake = partial(enqueue_turns, self.house.joined)
        woken = await Repair(self.house.database).wake_overdue(wake, limit=500)
        self.seen(f"the repair wakes {woken}")

    async def fault(self) -> None:
        self.house.twilio.fail_next(self.chance.choice(FAULTS))

    def seen(self, what: str) -> None:
        self.watch.tell(what)
        self.watch.look_at(what)

    # --- The end

    async def end(self) -> None:
        """No faults any more; workers that stand go on or die; all that is due is done."""
        self.calm = True
        self.house.twilio._next_faults.clear()
        await self.resume()
        for worker in self.alive():
            if self.chance.random() < 0.4:
                worker.kill()
        for _ in range(LONGEST_END):
            if self.alive():
                await self.go()
            elif (due := await self.house.due_in()) is not None:
                await self.steps.advance(due)
                for claim in [*await self.house.claim(1, reserve=1)]:
                    self.seen(f"{(await self.steps.start(claim)).name} claims {claim.kind}")
            elif any(self.watch.now.waiting(t) or self.watch.now.pending(t) for t in self.watch.now.threads):
                require(self.watch.jobs_lost, "the queue is empty, and something waits")
                await self.steps.advance(181)
                await self.repair()
            elif self.watch.now.unanswered():
                await self.attend()
            else:
                break
        else:
            raise Violation("it never comes to rest")
        await self.check_end()

    async def attend(self) -> None:
        """Somebody answers, gives back, or nobody does anything."""
        await self.chance.choice([self.reply, self.hand_back, self.wait_long])()

    async def check_end(self) -> None:
        [(failed,)] = await self.house.rows(
            """SELECT count(*) FROM messages AS m WHERE id > ? AND outcome = 'failed' AND NOT EXISTS
               (SELECT 1 FROM jobs WHERE CAST(jobs.id AS TEXT) = m.ended_by AND state = 'dead')""",
            self.watch.base["messages"],
        )
        require(not failed, "a message has failed without a dead letter")
        self.watch.check_end(self.causes | {"failed"})
        await self.close()

    async def close(self) -> None:
        """So that no timer gives back in a later run what a person of ours has left in this one."""
        for _, conversation in self.watch.now.open_conversations():
            await self.house.acts().close(conversation, force=True)


async def block(house: House, address: str) -> None:
    """From here on nothing may be said to the person, if there is one."""
    for (contact,) in await house.rows("SELECT id FROM contacts WHERE address = ?", address):
        with suppress(ActRefused):
            await house.acts().block(contact)


async def unblock(house: House, address: str) -> None:
    for (contact,) in await house.rows("SELECT id FROM contacts WHERE address = ?", address):
        with suppress(ActRefused):
            await house.acts().unblock(contact)


def lose_jobs(tx: Transaction, lane: str) -> None:
    tx.execute(LOSE_JOBS, (lane,))


JOBS = "SELECT id, kind, state FROM jobs WHERE lane = ?"
LOSE_JOBS = """
    DELETE FROM jobs WHERE kind = 'process_ai_response' AND state = 'ready'
    AND lane_id IN (SELECT id FROM lanes WHERE lane = ? AND receipt IS NULL)
"""
