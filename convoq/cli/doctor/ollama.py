"""Ollama cuts what does not fit its context, without a word: the doctor compares before that happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from convoq.settings.load import Loaded

FRAME_TOKENS: Final = 500  #: about what convoq tells every model of how the conversation works
_TIMEOUT: Final = 2.0  # seconds; the server has just answered


async def context_of(base_url: str, model: str) -> int | None:
    """Tokens that an Ollama server has room for; None when it is another server, or has not loaded the model."""
    import httpx2

    from convoq.ai.http import open_client

    place = urlsplit(base_url)
    async with open_client(_TIMEOUT) as client:
        try:
            answer = (await client.get(f"{place.scheme}://{place.netloc}/api/ps")).json()
        except (httpx2.HTTPError, ValueError):
            return None
    models: list[Any] = answer.get("models") or [] if isinstance(answer, dict) else []
    loaded = {one.get("name"): one.get("context_length") for one in models if isinstance(one, dict)}
    found = loaded.get(model, loaded.get(f"{model}:latest"))
    return found if isinstance(found, int) else None


def needed_context(loaded: Loaded) -> int:
    """About how many tokens a long conversation and its answer take with these settings."""
    from convoq.ai.context import estimate_tokens
    from convoq.ai.persona import read_personas

    ai = loaded.options.ai
    personas = read_personas(ai, loaded.options.personas, loaded.base_dir).values()
    longest = max(estimate_tokens(persona.prompt) for persona in personas)
    return longest + FRAME_TOKENS + ai.history_tokens + ai.max_output_tokens
