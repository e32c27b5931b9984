"""Who answers, as the settings say now: personas and prompts change while turns are under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo
from functools import cache

from convoq.ai import build_responder
from convoq.ai.persona import read_personas
from convoq.ai.replaceable import ReplaceableResponder
from convoq.conversations.out_of_hours import Desk, OutOfHours
from convoq.daemon.requirements import require_prices
from convoq.hours import OpeningHours
from convoq.logs import log
from convoq.settings.load import Loaded
from convoq.settings.notices import sendable_sentences
from convoq.settings.people import DEFAULT_PERSONA, NumberSettings
from convoq.zones import zone_named


class CurrentPersonas:
    """The responder of the worker, and for each of our addresses who speaks there, in which time zone and language."""

    def __init__(self, loaded: Loaded) -> None:
        self._options = loaded.options
        self._ai = loaded.options.ai
        self._read = read_personas(self._ai, loaded.options.personas, loaded.base_dir)
        self._numbers = _numbers(loaded)
        self._handed_over = _handed_over(loaded)
        self._first = build_responder(self._ai, loaded.options.personas, base_dir=loaded.base_dir)
        self.responder = ReplaceableResponder(self._first)

    async def warm(self) -> None:
        """Before the first turn. Raises ConfigError."""
        await self._first.warm()
        require_prices(self._options, self._first.own_models)

    def of(self, address: str) -> str:
        return self._numbers[address].persona if address in self._numbers else DEFAULT_PERSONA

    def zone_of(self, address: str) -> tzinfo | None:
        """None: the machine's."""
        number = self._numbers.get(address)
        return zone_named(number.timezone) if number and number.timezone else None

    def desk_of(self, address: str) -> Desk | None:
        """When people of ours are there; None: always."""
        number = self._numbers.get(address)
        if number is None or not number.hours:
            return None
        return _desk(number)

    def language_of(self, address: str) -> str | None:
        """Of the notices there; None: the usual one."""
        number = self._numbers.get(address)
        return number.language if number else None

    def handed_over_of(self, address: str) -> Mapping[str, str]:
        """What the persona there says when a person of ours is to answer, by language, instead of the notice."""
        return self._handed_over.get(self.of(address), {})

    async def prepare(self, new: Loaded) -> Callable[[], Awaitable[None]]:
        """As convoq.daemon.reload wants it. The model that is not a persona's own stays that of the start."""
        read = read_personas(self._ai, new.options.personas, new.base_dir)
        numbers, handed_over = _numbers(new), _handed_over(new)
        responder = None
        # The same personas keep their connections, and what is known of an outage.
        if read != self._read:
            responder = build_responder(self._ai, new.options.personas, base_dir=new.base_dir)
            await responder.warm()
            require_prices(self._options, responder.own_models)

        async def put_in_place() -> None:
            changed = sorted(name for name in {**self._read, **read} if self._read.get(name) != read.get(name))
            self._read, self._numbers, self._handed_over = read, numbers, handed_over
            if responder is not None:
                log.info("personas.replaced", personas=changed)
                await self.responder.replace(responder)

        return put_in_place


@cache
def _desk(number: NumberSettings) -> Desk:
    zone = zone_named(number.timezone) if number.timezone else None
    return Desk(OpeningHours(number.hours, number.holidays, zone), OutOfHours(number.out_of_hours))


def _numbers(loaded: Loaded) -> dict[str, NumberSettings]:
    return {number.address: number for number in loaded.options.numbers}


def _handed_over(loaded: Loaded) -> dict[str, Mapping[str, str]]:
    return {persona.name: sendable_sentences(persona.handed_over) for persona in loaded.options.personas}
