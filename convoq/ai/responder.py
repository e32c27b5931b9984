"""Hands each turn to the responder of its persona; loads the AI library only when a persona needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convoq.ai.base import Reply, ReplyContext, Responder
from convoq.ai.endpoints import COMPATIBLE, Endpoint
from convoq.ai.offline import OfflineResponder
from convoq.ai.persona import Persona
from convoq.settings import AiSettings
from convoq.settings.people import DEFAULT_PERSONA

if TYPE_CHECKING:
    from convoq.ai.agent import AgentResponder


# Their SDKs come with convoq, so that looking at the settings tells whether they can be asked.
_SDK_INCLUDED: Final = frozenset({"openai", "anthropic", COMPATIBLE})


class PersonaResponder:
    """Answers as the persona that a turn names; as "default" when that one is no longer configured."""

    def __init__(
        self,
        ai: AiSettings,
        personas: Mapping[str, Persona],
        fallback: Endpoint | None,
        base_dir: Path,
        clock: Callable[[], float],
    ) -> None:
        self._ai = ai
        self._personas = personas
        self._fallback = fallback
        self._base_dir = base_dir
        self._clock = clock
        self._offline = OfflineResponder()
        self._agents: AgentResponder | None = None
        self._loading = asyncio.Lock()

    async def warm(self) -> None:
        if any(not persona.offline for persona in self._personas.values()):
            await self._load()

    @property
    def own_models(self) -> Mapping[str, str]:
        """Those that agents of the users' own bring along, with where they are named; none before warm()."""
        return self._agents.own_models if self._agents else {}

    def check(self) -> Mapping[str, str]:
        """As own_models. Raises ConfigError where warm() would. Loads the AI library only if that is needed to tell."""
        online = [persona for persona in self._personas.values() if not persona.offline]
        endpoints = [self._fallback, *(persona.endpoint for persona in online)]
        uncertain = any(endpoint is not None and endpoint.provider not in _SDK_INCLUDED for endpoint in endpoints)
        if online and (uncertain or any(persona.agent for persona in online)):
            return self._build().own_models
        return {}

    async def reply(self, context: ReplyContext) -> Reply:
        persona = self._personas.get(context.persona) or self._personas[DEFAULT_PERSONA]
        responder: Responder = self._offline if persona.offline else await self._load()
        return await responder.reply(replace(context, persona=persona.name))

    async def _load(self) -> AgentResponder:
        async with self._loading:
            if self._agents is None:
                agents = await asyncio.to_thread(self._build)
                await agents.warm()
                self._agents = agents
        return self._agents

    def _build(self) -> AgentResponder:
        # One to two seconds of imports, and memory that the offline demo never needs.
        from convoq.ai.agent import AgentResponder

        personas = [persona for persona in self._personas.values() if not persona.offline]
        return AgentResponder(self._ai, personas, fallback=self._fallback, base_dir=self._base_dir, clock=self._clock)

    async def close(self) -> None:
        if self._agents is not None:
            await self._agents.close()
