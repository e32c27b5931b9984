"""The doctor asks the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from convoq.cli.doctor import ollama
from convoq.errors import RetryLater, Unrecoverable
from convoq.monitoring.findings import Finding, fail, note, ok, warn
from convoq.settings.people import DEFAULT_PERSONA
from convoq.settings.problems import Missing, RequirementUnmet
from convoq.text import age

if TYPE_CHECKING:
    from pathlib import Path

    from convoq.ai.base import ModelCall, ReplyContext
    from convoq.settings import AiSettings, Options
    from convoq.settings.load import Loaded

MODEL_TIMEOUT_SECONDS: Final = 6.0
UP_TIMEOUT_SECONDS: Final = 1.0
MOST_REQUESTS: Final = 2  # the second for an answer without use


async def check_model(loaded: Loaded) -> Finding:
    ai = _asked(loaded.options)
    if isinstance(ai, Finding):
        return ai
    try:
        return await _weighed(await _ask(ai, loaded.base_dir), ai, loaded)
    except RequirementUnmet as error:
        if isinstance(error.unmet, Missing) and error.unmet.secret:
            return note("model", f"{ai.model}: not asked: {error.unmet.headline} for this command")
        raise
    except TimeoutError:
        return await _silent(ai)
    except (RetryLater, Unrecoverable) as error:
        return fail("model", f"{ai.model}: {error}", "look at ai.model, ai.api_key and ai.base_url")


async def _weighed(answered: str, ai: AiSettings, loaded: Loaded) -> Finding:
    """Whether the model that answered has room for what it will be shown, where that can be asked."""
    from convoq.ai.endpoints import main_endpoint

    endpoint = main_endpoint(ai)
    context = None
    if endpoint is not None and endpoint.base_url is not None:
        context = await ollama.context_of(endpoint.base_url, endpoint.name)
    needed = ollama.needed_context(loaded)
    if context is None or context >= needed:
        return ok("model", answered)
    fix = f"start Ollama with OLLAMA_CONTEXT_LENGTH={-(-needed // 1024) * 1024}, or lower ai.history_tokens"
    detail = f"{answered}; Ollama drops what exceeds {context} tokens without a word, and {needed} may be needed"
    return warn("model", detail, fix)


async def _silent(ai: AiSettings) -> Finding:
    """A small machine may take longer for a model's first word than a command can wait."""
    from convoq.ai.endpoints import main_endpoint

    endpoint = main_endpoint(ai)
    silence = f"{ai.model}: no answer within {MODEL_TIMEOUT_SECONDS:g} s"
    if endpoint is not None and endpoint.base_url is not None and await _is_up(endpoint.base_url):
        fix = f"ask again: it may have been loaded by then. An answer may take ai.timeout, {ai.timeout:g} s"
        return warn("model", f"{silence}, though its server is up", fix)
    return fail("model", silence, "look at ai.base_url")


async def _is_up(base_url: str) -> bool:
    """Whether the server answers at all, whatever it says."""
    import httpx2

    from convoq.ai.http import open_client
    from convoq.ai.wire.errors import Unreadable

    async with open_client(UP_TIMEOUT_SECONDS) as client:
        try:
            await client.get(f"{base_url.rstrip('/')}/models")
        except Unreadable:
            return True
        except httpx2.HTTPError:
            return False
    return True


async def _ask(ai: AiSettings, base_dir: Path) -> str:
    """Asks for one word through the parts that the worker uses; in words, how that went."""
    from convoq.ai import build_responder

    calls: list[ModelCall] = []

    async def record(call: ModelCall) -> None:
        calls.append(call)

    responder = build_responder(ai, (), base_dir=base_dir)
    try:
        await responder.warm()  # imports, no network
        begun = time.monotonic()
        async with asyncio.timeout(MODEL_TIMEOUT_SECONDS):
            reply = await responder.reply(_context(ai, record))
        took = time.monotonic() - begun
    finally:
        await responder.close()
    tokens = f"{sum(call.input_tokens for call in calls)} tokens in, {sum(call.output_tokens for call in calls)} out"
    return f"{reply.model} answered in {age(took)} ({tokens})"


def _context(ai: AiSettings, record: Callable[[ModelCall], Awaitable[None]]) -> ReplyContext:
    from convoq.ai.base import Allowance, Author, ContextLine, ReplyContext
    from convoq.clock import WallClock

    now = WallClock().now()
    line = ContextLine(author=Author.CONTACT, text="Please answer with the one word: ready", at=now)
    return ReplyContext(
        conversation_id=0, persona=DEFAULT_PERSONA, channel="twilio", our_address="+10000000000",
        address="+10000000001", contact_name=None, lines=(line,), now=now, record=record,
        allowance=Allowance(requests=MOST_REQUESTS, output_tokens=ai.max_output_tokens_per_message),
    )  # fmt: skip


def _asked(options: Options) -> AiSettings | Finding:
    """The settings with the model to ask; a finding where none can be asked."""
    from convoq.ai.endpoints import OFFLINE

    named = [options.ai.model, *(persona.model for persona in options.personas)]
    model = next((name for name in named if name and name != OFFLINE), None)
    if model is not None:
        return options.ai.model_copy(update={"model": model})
    if any(persona.agent for persona in options.personas):
        return note("model", "agents of your own answer: they are not asked here")
    if OFFLINE in named:
        detail = "the offline responder answers: rules that say they are a demo"
        return warn("model", detail, "set ai.model for real answers")
    return note("model", "none is set, so none was asked")
