"""`python -m convoq.loopback.worker URL`: the worker, with a model that the fault switches at URL slow down or stop."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import aiohttp

from convoq.ai.base import CallBound, ModelCall, Reply, ReplyContext, Responder
from convoq.ai.endpoints import OFFLINE
from convoq.daemon.process import run_role
from convoq.daemon.startup import starting
from convoq.daemon.work import work
from convoq.errors import ConvoqError, RetryLater
from convoq.text import harmless

DOWN_RETRY_SECONDS = 2.0  # short, so that a person at the page sees the recovery


class FaultyResponder:
    """A responder that asks an address, before each reply, how badly the model shall behave.

    The answer is `{"slow": seconds, "down": bool, "counts": bool}`; without an answer the model behaves.
    """

    def __init__(self, responder: Responder, url: str) -> None:
        self._responder = responder
        self._url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))

    async def warm(self) -> None:
        await self._responder.warm()

    async def reply(self, context: ReplyContext) -> Reply:
        faults = await self._ask()
        if faults.get("down"):
            raise RetryLater(DOWN_RETRY_SECONDS, "the model is down (a fault that was asked for)")
        if faults.get("counts"):
            await _count(context)
        if slow := float(faults.get("slow", 0)):
            await asyncio.sleep(slow)
        return await self._responder.reply(context)

    async def close(self) -> None:
        await self._session.close()

    async def _ask(self) -> dict[str, float]:
        try:
            async with self._session.get(self._url) as response:
                answer: dict[str, float] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}


async def _count(context: ReplyContext) -> None:
    """Raises BudgetReached."""
    bound = CallBound(model=OFFLINE, input_tokens=1, most_input_tokens=1, output_tokens=0)
    hold = await context.hold(bound)
    await context.record(ModelCall(model=OFFLINE, outcome="ok", input_tokens=1, hold=hold))


def main(url: str) -> int:
    """Works like `convoq work`; the exit code is the process's."""

    def wrap(responder: Responder, stack: AsyncExitStack) -> Responder:
        faulty = FaultyResponder(responder, url)
        stack.push_async_callback(faulty.close)
        return faulty

    with starting("work"):
        return run_role("work", work(wrap=wrap))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except ConvoqError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"convoq: {harmless(line)}\n")
        sys.exit(error.exit_code)
