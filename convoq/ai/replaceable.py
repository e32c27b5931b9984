"""A responder that can be replaced while turns are under way."""

from __future__ import annotations

from convoq.ai.base import Reply, ReplyContext, Responder


class ReplaceableResponder:
    """Each turn is answered by the responder of its beginning; a replaced one is closed after its last turn."""

    def __init__(self, responder: Responder) -> None:
        self._current = responder
        self._turns: dict[Responder, int] = {responder: 0}

    async def warm(self) -> None:
        await self._current.warm()

    async def reply(self, context: ReplyContext) -> Reply:
        responder = self._current
        self._turns[responder] += 1
        try:
            return await responder.reply(context)
        finally:
            self._turns[responder] -= 1
            await self._close_unused()

    async def replace(self, responder: Responder) -> None:
        """From the next turn on this one answers. Raises what closing the old one raises."""
        self._turns[responder] = 0
        self._current = responder
        await self._close_unused()

    async def close(self) -> None:
        for responder in list(self._turns):
            await responder.close()

    async def _close_unused(self) -> None:
        for responder in [one for one, turns in self._turns.items() if not turns and one is not self._current]:
            del self._turns[responder]
            await responder.close()
