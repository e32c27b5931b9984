"""The AI: who answers, what the model is shown, and what becomes of its failures. Light until a model is needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from convoq.ai.endpoints import fallback_endpoint
from convoq.ai.persona import read_personas
from convoq.ai.responder import PersonaResponder
from convoq.settings import AiSettings, PersonaSettings

__all__ = ["build_responder"]


def build_responder(
    ai: AiSettings,
    personas: Sequence[PersonaSettings],
    *,
    base_dir: Path,
    clock: Callable[[], float] = time.monotonic,
) -> PersonaResponder:
    """The responder for these settings; every persona's name, prompt, model name and key is checked.

    Relative paths start at `base_dir`, and a persona's own agent is looked up there too. `await warm()` before the
    first reply: it loads the AI library and imports the agents. Both raise ConfigError.
    `clock` gives seconds that never jump.
    """
    return PersonaResponder(ai, read_personas(ai, personas, base_dir), fallback_endpoint(ai), base_dir, clock)
