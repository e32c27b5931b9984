"""Who answers, as the settings say now: personas and prompts change while turns are under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from convoq.ai import build_responder
from convoq.ai.persona import read_personas
from convoq.ai.replaceable import ReplaceableResponder
from convoq.logs import log
from convoq.settings.load import Loaded
from convoq.settings.options import DEFAULT_PERSONA


class CurrentPersonas:
    """The responder of the worker, and which persona speaks for which of our addresses."""

    def __init__(self, loaded: Loaded) -> None:
        self._ai = loaded.options.ai
        self._read = read_personas(self._ai, loaded.options.personas, loaded.base_dir)
        self._by_address = _by_address(loaded)
        responder = build_responder(self._ai, loaded.options.personas, base_dir=loaded.base_dir)
        self.responder = ReplaceableResponder(responder)

    def of(self, address: str) -> str:
        return self._by_address.get(address, DEFAULT_PERSONA)

    async def prepare(self, new: Loaded) -> Callable[[], Awaitable[None]]:
        """As convoq.daemon.reload wants it. The model that is not a persona's own stays that of the start."""
        read = read_personas(self._ai, new.options.personas, new.base_dir)
        by_address = _by_address(new)
        responder = None
        # The same personas keep their connections, and what is known of an outage.
        if read != self._read:
            responder = build_responder(self._ai, new.options.personas, base_dir=new.base_dir)
            await responder.warm()

        async def put_in_place() -> None:
            changed = sorted(name for name in {**self._read, **read} if self._read.get(name) != read.get(name))
            self._read, self._by_address = read, by_address
            if responder is not None:
                log.info("personas.replaced", personas=changed)
                await self.responder.replace(responder)

        return put_in_place


def _by_address(loaded: Loaded) -> dict[str, str]:
    return {number.address: number.persona for number in loaded.options.numbers}
