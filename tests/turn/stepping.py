"""Handlers that stand still before each of their steps, until a test lets them go on."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, Protocol

import pytest

from convoq.channels.twilio.channel import TwilioChannel
from convoq.conversations.outbox import Outbox
from convoq.conversations.recording import Recorder
from convoq.conversations.turns import Turns
from convoq.errors import LeaseLost
from convoq.handlers import answer
from convoq.handlers.base import ClaimContext, Handler
from convoq.handlers.outbox import Delivery
from convoq.jobs import ReceiveMessage
from convoq.queue.base import Claim
from convoq.queue.service import QueueService
from tests.handlers.house import House, ScriptedResponder

STEPS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Turns, ("look", "is_overtaken", "give_up", "give_back", "fail", "commit")),
    (Outbox, ("next_pending", "announce", "mark_sending", "mark_sent", "mark_ready", "mark_ambiguous", "mark_failed")),
    (Recorder, ("record",)),
    (Delivery, ("_request",)),
    (TwilioChannel, ("send", "find")),
    (ScriptedResponder, ("reply",)),
)
#: What a dead process does not do any more, though its task is unwound in this one.
ENDINGS = ("ack", "fail", "release")
STUCK = 20.0  # seconds of the real clock


class Watcher(Protocol):
    """Sees the steps of all workers, in order."""

    def before(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...]) -> None: ...

    def after(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...], result: Any) -> None: ...


class Unwatched:
    def before(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...]) -> None: ...

    def after(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...], result: Any) -> None: ...


class SteppedWorker:
    """One claim and the handler that runs it, a step at a time.

    `at` names the steps that it stands before: one, or two while the model is at work ("reply", "is_overtaken").
    "begin" is before the handler, "end" after it: before its claim is acked or given back.
    """

    def __init__(self, house: House, claim: Claim, name: str, watcher: Watcher | None = None) -> None:
        self.claim = claim
        self.name = name
        self.watcher = watcher
        self.stalled = False  #: its lease is not renewed
        self.dead = False
        self._house = house
        self._standing: dict[str, asyncio.Future[None]] = {}
        self._replying = False
        self._changed = asyncio.Event()
        context = contextvars.copy_context()
        context.run(_worker.set, self)
        self.task = asyncio.create_task(house.handle(claim), context=context)
        self.task.add_done_callback(lambda _: self._changed.set())

    @property
    def at(self) -> set[str]:
        return set(self._standing)

    @property
    def done(self) -> bool:
        return self.task.done()

    @property
    def takes_in(self) -> bool:
        return self.claim.kind == ReceiveMessage.kind

    async def stand(self, step: str) -> None:
        if self.dead:
            raise LeaseLost
        going_on = asyncio.get_running_loop().create_future()
        self._standing[step] = going_on
        self._changed.set()
        try:
            await going_on
        finally:
            if self._standing.get(step) is going_on:
                del self._standing[step]
            self._changed.set()
        if self.dead:
            raise asyncio.CancelledError if step == "reply" else LeaseLost

    async def arrive(self) -> None:
        """Returns once it stands before a step or has ended; beside the model the handler itself counts."""
        async with asyncio.timeout(STUCK):
            while not self.done and not self.at - {"reply"}:
                self._changed.clear()
                await self._changed.wait()
        if self.done:
            self.task.result()

    async def go(self, step: str | None = None) -> None:
        """Takes one step: by default the model answers before anybody looks whether that is still wanted."""
        step = step or min(self.at, key=lambda name: name != "reply")
        if step != "reply":
            self._standing.pop(step).set_result(None)
            await self.arrive()
            return
        self._standing.pop("reply").set_result(None)
        self._replying = True
        async with asyncio.timeout(STUCK):
            while self._replying:
                self._changed.clear()
                await self._changed.wait()

    async def until(self, step: str) -> None:
        """Goes on until it stands before this step."""
        await self.arrive()
        while step not in self.at:
            assert not self.done, f"{self.name} has ended without a {step}"
            await self.go()

    async def finish(self) -> None:
        """Goes on to its end."""
        await self.arrive()
        while not self.done:
            await self.go()

    def replied(self) -> None:
        self._replying = False
        self._changed.set()

    def kill(self) -> None:
        """Its process dies: nothing that it would do happens any more."""
        self.dead = True
        for breaker in self._house.delivery._breakers.values():  # a process has its own
            breaker.abandoned()

    async def unwind(self) -> None:
        self.kill()
        while not self.done:
            for going_on in list(self._standing.values()):
                if not going_on.done():
                    going_on.set_result(None)
            await asyncio.sleep(0)  # a turn of the loop, for what was let go on
        await asyncio.gather(self.task, return_exceptions=True)


_worker: contextvars.ContextVar[SteppedWorker | None] = contextvars.ContextVar("worker", default=None)


def stepped(name: str, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(step)
    async def run(*args: Any, **options: Any) -> Any:
        worker = _worker.get()
        if worker is None:
            return await step(*args, **options)
        await worker.stand(name)
        watcher = worker.watcher or Unwatched()
        try:
            watcher.before(worker, name, args[1:])
            result = await step(*args, **options)
        except Exception as error:
            watcher.after(worker, name, args[1:], error)
            raise
        else:
            watcher.after(worker, name, args[1:], result)
            return result
        finally:
            if name == "reply":  # in a task of its own
                asyncio.get_running_loop().call_soon(worker.replied)

    return run


def unless_dead(ending: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(ending)
    async def run(*args: Any, **options: Any) -> None:
        worker = _worker.get()
        if worker is not None and worker.dead:
            raise LeaseLost
        await ending(*args, **options)

    return run


def standing_at_both_ends(handler: Handler) -> Handler:
    async def run(context: ClaimContext) -> None:
        if (worker := _worker.get()) is None:
            return await handler(context)
        await worker.stand("begin")
        try:
            await handler(context)
        finally:
            await worker.stand("end")

    return run


class Steps:
    """Starts stepped workers in a house, and ends those that a test leaves behind."""

    def __init__(self, house: House, watcher: Watcher | None = None) -> None:
        self.house = house
        self.watcher = watcher
        self.workers: list[SteppedWorker] = []

    async def start(self, claim: Claim) -> SteppedWorker:
        """A worker that has claimed this and not begun."""
        worker = SteppedWorker(self.house, claim, f"w{len(self.workers)}", self.watcher)
        self.workers.append(worker)
        await worker.arrive()
        return worker

    async def claim(self, *, intake: bool = False) -> SteppedWorker:
        """A worker with the one lane that is due."""
        [claim] = await self.house.claim(0 if intake else 1, reserve=1 if intake else 0)
        return await self.start(claim)

    async def advance(self, seconds: float) -> None:
        """The clock goes on; who is alive and not stalled keeps the lease."""
        slice_ = self.house.queue.lease / 3
        while seconds > 0:
            self.house.clock.advance(min(seconds, slice_))
            seconds -= slice_
            kept = [worker.claim for worker in self.workers if not (worker.done or worker.dead or worker.stalled)]
            if kept:
                await asyncio.to_thread(self.house.queue.extend, kept)

    async def recover(self, worker: SteppedWorker) -> None:
        """A dead worker is noticed: its lane is due at once."""
        await self.house.free(worker.claim)

    async def close(self) -> None:
        for worker in self.workers:
            await worker.unwind()
        self.workers.clear()


@contextmanager
def all_steps(house: House) -> Iterator[None]:
    """In this context stepped workers stand still; the clock of Twilio is the one that is turned by hand."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, names in STEPS:
            for name in names:
                patch.setattr(owner, name, stepped(name.lstrip("_"), getattr(owner, name)))
        for name in ENDINGS:
            patch.setattr(QueueService, name, unless_dead(getattr(QueueService, name)))
        for kind, handler in house.handlers.items():
            patch.setitem(house.handlers, kind, standing_at_both_ends(handler))
        patch.setattr(answer, "LOOK_INTERVAL", 0.0)
        patch.setattr(house.twilio, "_clock", house.clock)
        patch.setattr(house.channel, "_clock", house.clock)
        yield


@asynccontextmanager
async def stepping(house: House, watcher: Watcher | None = None) -> AsyncIterator[Steps]:
    steps = Steps(house, watcher)
    with all_steps(house):
        try:
            yield steps
        finally:
            await steps.close()
