"""Makes a model slow or unreachable when the phone page's buttons say so."""

from __future__ import annotations

import asyncio

import aiohttp

from convoq.ai.base import Reply, ReplyContext, Responder
from convoq.errors import RetryLater

DOWN_RETRY = 2.0  # seconds; short, so that a person at the page sees the recovery


class FaultyResponder:
    """A responder that asks an address, before each reply, how badly the model shall behave.

    The answer is `{"slow": seconds, "down": bool}`; where nobody answers, the model behaves.
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
            raise RetryLater(DOWN_RETRY, "the model is down (a fault that was asked for)")
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
