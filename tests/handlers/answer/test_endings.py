"""Whatever ends the turns of a message, it has an outcome with the reason, and so has its dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from convoq.ai.base import ReplyContext
from convoq.errors import RetryLater, Unrecoverable
from convoq.handlers.base import Handlers
from convoq.handlers.tasks import make_task
from convoq.queue.base import JobFilter
from convoq.worker import Worker
from tests.handlers.house import MAX_TRIES, TOGETHER, House
from tests.turn.stepping import stepping


class Panic(BaseException):
    """As a library in another language raises it."""


@dataclass(frozen=True)
class Raising:
    make: Callable[[], BaseException]

    async def __call__(self, _: ReplyContext) -> str:
        raise self.make()


async def raising_in_a_task(_: ReplyContext) -> str:
    async def leave() -> None:
        raise SystemExit(3)

    await asyncio.create_task(leave())
    return "never"


async def awaiting_what_was_cancelled(_: ReplyContext) -> str:
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task
    return "never"


async def hanging(_: ReplyContext) -> str:
    await asyncio.Event().wait()
    return "never"


ENDS: dict[str, tuple[Callable[[ReplyContext], Awaitable[str]], str]] = {
    "error": (Raising(lambda: RuntimeError("bug")), "bug"),
    "unrecoverable": (Raising(lambda: Unrecoverable("the key is wrong")), "the key is wrong"),
    "outage": (Raising(lambda: RetryLater(60, "the model is down")), "the model is down"),
    "SystemExit": (Raising(lambda: SystemExit(3)), "sys.exit(3)"),
    "SystemExit in a task": (raising_in_a_task, "sys.exit(3)"),
    "KeyboardInterrupt": (Raising(lambda: KeyboardInterrupt()), "KeyboardInterrupt"),
    "panic": (Raising(lambda: Panic("index out of bounds")), "Panic: index out of bounds"),
    "cancellation": (awaiting_what_was_cancelled, "cancelled"),
    "deadline": (hanging, "deadline"),
}


async def failed_with(house: House, reason: str) -> None:
    """It failed with the reason in all that an operator may look at, and a retry answers it."""
    [(outcome, why)] = await house.rows("SELECT outcome, reason FROM messages WHERE direction = 'in'")
    [dead] = await house.dead()
    assert outcome == "failed"
    assert reason in why
    assert reason in (dead.error or "")
    assert await house.flaws() == []
    house.responder.always = None
    assert await house.engine.retry_dead(JobFilter(ids=(dead.id,))) == 1
    await house.settle()
    assert house.sent == ["re: hello"]


@pytest.mark.parametrize("end", ENDS)
async def test_every_end_of_its_turns_is_an_outcome_with_the_reason(house: House, end: str) -> None:
    asyncio.get_running_loop().set_task_factory(make_task)  # as the worker does
    house.responder.always, reason = ENDS[end]
    handlers = Handlers(house.handlers, together=TOGETHER, forgotten=frozenset())
    deadline = 0.25 if end == "deadline" else 20.0
    house.worker = Worker(house.queue, handlers, name="w", concurrency=8, deadline=deadline, drain_timeout=1)
    await house.hear("hello")
    await house.settle()
    await failed_with(house, reason)


async def test_the_deaths_of_its_workers_are_an_outcome_with_the_reason(house: House) -> None:
    await house.hear_at_once("hello")
    async with stepping(house) as steps:
        for _ in range(MAX_TRIES):
            worker = await steps.claim()
            await worker.until("reply")
            worker.kill()
            await steps.recover(worker)
    await house.settle()
    await failed_with(house, "its workers died")
