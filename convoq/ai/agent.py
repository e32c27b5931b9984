"""The responder that asks a model: directly, or through an agent of the user's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Final

import pydantic_ai
from pydantic import SecretStr
from pydantic_ai import UsageLimits
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.settings import ModelSettings

from convoq.ai.acts import Acting, Decided, Decision, definitions, first_call, names_of_own_tools, toolset
from convoq.ai.base import Act, AnswerLost, Author, ModelCall, Reply, ReplyContext, Useless
from convoq.ai.breakers import BreakerRegistry
from convoq.ai.endpoints import Endpoint
from convoq.ai.http import open_client
from convoq.ai.messages import to_messages, to_request
from convoq.ai.models import adapt_profile, build_model
from convoq.ai.nested import charged_to
from convoq.ai.persona import Persona
from convoq.ai.prompt import frame
from convoq.ai.reply import clean
from convoq.ai.shown import Shown
from convoq.ai.spending import Spending
from convoq.ai.turn import Candidate, TurnModel
from convoq.breaker import SHORTEST
from convoq.errors import ConfigError, Unrecoverable
from convoq.logs import log
from convoq.plugins import load_plugin
from convoq.prose import end_at_sentence
from convoq.settings import AiSettings
from convoq.text import first_line

# A turn outlasts one request so that the fallback gets a full one after the first model's deadline has passed.
TURN_TIMEOUTS: Final = 2


@dataclass(frozen=True, slots=True)
class _Speaker:
    """A persona ready to answer."""

    prompt: str
    agent: AbstractAgent[Any, Any] | None  #: the user's own, with a prompt and a loop of its own
    candidates: tuple[Candidate, ...]
    own_tools: frozenset[str] = frozenset()  #: names that are the agent's


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    finish_reason: str | None  #: why it ends


class AgentResponder:
    """Answers with a model. One HTTP client is shared; `close()` closes it.

    Building it imports the providers' SDKs and the users' agents: do that in a thread. Raises ConfigError for a
    model or an agent that cannot be used. `clock` gives seconds that never jump.
    """

    def __init__(
        self,
        ai: AiSettings,
        personas: Iterable[Persona],
        *,
        fallback: Endpoint | None,
        base_dir: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Standard output belongs to the service.
        pydantic_ai.BANNER_ENABLED = False
        self._ai = ai
        self._clock = clock
        self._client = open_client(ai.timeout)
        self._breakers = BreakerRegistry(clock)
        self._built: dict[tuple[str, str | None, SecretStr | None], Candidate] = {}
        self._fallback = self._candidate(fallback) if fallback else None
        self.own_models: dict[str, str] = {}  #: of the users' agents, with where they are named
        self._speakers = {persona.name: self._speaker(persona, base_dir) for persona in personas}
        self._records: set[asyncio.Task[None]] = set()
        self._models = AsyncExitStack()

    async def warm(self) -> None:
        """Takes charge of the connections that some models open for themselves, so that close() ends them."""
        by_id = {id(one.model): one.model for speaker in self._speakers.values() for one in speaker.candidates}
        for model in by_id.values():
            await self._models.enter_async_context(model)

    async def reply(self, context: ReplyContext) -> Reply:
        speaker = self._speakers[context.persona]
        shown = Shown.of(context, self._ai.history_tokens)
        if not any(line.author is Author.CONTACT for line in shown.window.pending):
            raise Unrecoverable("there is no message to answer")
        rules = frame(context, shown.window)
        acting = Acting(context.acts - speaker.own_tools, f"{speaker.prompt}\n\n{rules}")
        model = self._turn_model(speaker, context, shown, acting)
        try:
            said = await self._ask(speaker, model, context, shown, rules, acting)
        finally:
            await model.spending.end()
        if isinstance(said, Decision):
            return Reply(said.sentence, model.answered_by, said.handover, ends=said.act is Act.END)
        text = clean(said.text, model.offered)
        if not text:
            # Of an agent's own making: a model's empty answer was asked for once more before.
            raise Useless(SHORTEST, f"persona {context.persona}: its answer is empty")
        return Reply(end_at_sentence(text) if said.finish_reason == "length" else text, model.answered_by)

    async def close(self) -> None:
        """Ends what is open. Records of cut off requests are written first."""
        await asyncio.gather(*self._records, return_exceptions=True)
        await self._models.aclose()
        await self._client.aclose()

    def _turn_model(self, speaker: _Speaker, context: ReplyContext, shown: Shown, acting: Acting) -> TurnModel:
        return TurnModel(
            speaker.candidates,
            spending=Spending(
                context.allowance,
                lambda call: self._record(context, call),
                hold=context.hold,
                limit=self._ai.max_output_tokens,
            ),
            acts=context.acted.set,
            timeout=self._ai.timeout,
            ends_at=self._clock() + TURN_TIMEOUTS * self._ai.timeout,
            clock=self._clock,
            shown=shown,
            conversation=context.conversation_id,
            is_agents=speaker.agent is not None,
            of_ours=acting.names,
        )

    async def _ask(
        self, speaker: _Speaker, model: TurnModel, context: ReplyContext, shown: Shown, rules: str, acting: Acting
    ) -> _Answer | Decision:
        try:
            # The requests end by themselves; this is for an agent's tools.
            async with asyncio.timeout(TURN_TIMEOUTS * self._ai.timeout + 1):
                if speaker.agent is not None:
                    return await _run(speaker.agent, model, shown, rules, acting)
                return await _request(model, shown, [speaker.prompt, rules], acting)
        except TimeoutError as error:
            reason = f"persona {context.persona}: no reply in time"
            raise AnswerLost(SHORTEST, reason, asks_left=model.spending.asks_left) from error
        except AgentRunError as error:
            # An answer that its output types, tools or validators take for none, also after they said so.
            raise Useless(SHORTEST, f"persona {context.persona}: {first_line(error)}") from error
        except UserError as error:
            raise Unrecoverable(f"persona {context.persona}: {first_line(error)}") from error

    async def _record(self, context: ReplyContext, call: ModelCall) -> None:
        if call.outcome != "ok":
            log.warning(
                "model_call.failed",
                conversation_id=context.conversation_id,
                model=call.model,
                outcome=call.outcome,
                reason=call.error,
            )
        # A shielded task: cancelling the reply must not cancel the record of what the request has cost.
        task = asyncio.create_task(_write(context, call))
        self._records.add(task)
        task.add_done_callback(self._records.discard)
        await asyncio.shield(task)

    def _speaker(self, persona: Persona, base_dir: Path) -> _Speaker:
        first = self._candidate(persona.endpoint) if persona.endpoint else None
        if persona.agent is None:
            return _Speaker(persona.prompt, None, _in_order(first, self._fallback))
        where = f'personas.{persona.name}.agent "{persona.agent}"'
        agent = import_agent(persona.agent, where, base_dir)
        if agent.model is not None:
            first = self._own_candidate(agent.model, where)
            self.own_models.setdefault(first.label, where)
        if first is None:
            raise ConfigError(f"{where}: it has no model; give it one or set ai.model")
        return _Speaker(persona.prompt, agent, _in_order(first, self._fallback), names_of_own_tools(agent))

    def _candidate(self, endpoint: Endpoint) -> Candidate:
        # One for all personas of a model: they share what is known of its failures.
        key = (endpoint.label, endpoint.base_url, endpoint.api_key)
        if key not in self._built:
            model = adapt_profile(build_model(endpoint, self._client))
            self._built[key] = Candidate(
                label=endpoint.label,
                model=model,
                breakers=self._breakers.of(model),
                defaults=ModelSettings(max_tokens=self._ai.max_output_tokens),
            )
        return self._built[key]

    def _own_candidate(self, model: Any, where: str) -> Candidate:
        try:
            built: Model[Any] = adapt_profile(infer_model(model))
        except (UserError, ImportError, ValueError) as error:
            raise ConfigError(f"{where}: its model cannot be used: {first_line(error)}") from error
        return Candidate(
            label=built.model_id,
            model=built,
            breakers=self._breakers.of(built),
            defaults=ModelSettings(max_tokens=self._ai.max_output_tokens),
        )


def import_agent(reference: str, where: str, base_dir: Path) -> AbstractAgent[Any, Any]:
    """The user's own agent. Its module is found on the path or in `base_dir`. Raises ConfigError, in one line."""
    try:
        agent = load_plugin(reference, base_dir)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(agent, AbstractAgent):
        raise ConfigError(f"{where}: is a {type(agent).__name__}, not a pydantic_ai.Agent")
    if isinstance(agent.output_type, type) and agent.output_type is not str:
        raise ConfigError(f"{where}: its output_type is {agent.output_type.__name__}; a reply is a str")
    deps_type = getattr(agent, "deps_type", NoneType)
    if isinstance(deps_type, type) and not isinstance(None, deps_type):
        raise ConfigError(f"{where}: its deps_type is {deps_type.__name__}; convoq runs agents without deps")
    return agent


async def _request(model: TurnModel, shown: Shown, instructions: Sequence[str], acting: Acting) -> _Answer | Decision:
    """What a model without an agent says, or does."""
    messages, parameters = to_request(shown.turns, instructions, definitions(acting.acts))
    while True:
        response = await model.request(messages, None, parameters)
        if (call := first_call(response, acting.names)) is None:
            return acting.decide_by(response.text or "") or _Answer(response.text or "", response.finish_reason)
        decision = acting.decide(*call)
        if isinstance(decision, Decision):
            return decision
        messages = [*messages, response, acting.answered(response, call[0], decision)]


async def _run(
    agent: AbstractAgent[Any, Any], model: TurnModel, shown: Shown, instructions: str, acting: Acting
) -> _Answer | Decision:
    *history, asked = shown.turns
    try:
        with charged_to(model.spending):
            result = await agent.run(
                asked.text,
                message_history=to_messages(history),
                model=model,
                instructions=instructions,
                deps=None,
                # The model keeps within what the message may cost.
                usage_limits=UsageLimits(request_limit=None),
                # Without it an agent's system_prompt is left out as soon as there is a history.
                capabilities=[ReinjectSystemPrompt()],
                toolsets=[toolset(acting)] if acting.names else None,
                infer_name=False,
            )
    except Decided as decided:
        return decided.decision
    if not isinstance(result.output, str):
        raise UserError(f"its agent answered with a {type(result.output).__name__}; a reply is a str")
    return acting.decide_by(result.output) or _Answer(result.output, result.response.finish_reason)


async def _write(context: ReplyContext, call: ModelCall) -> None:
    try:
        await context.record(call)
    except Exception as error:  # noqa: BLE001  # an answer that is paid for must not be lost with its record
        log.warning("model_call.unrecorded", conversation_id=context.conversation_id, error=first_line(error))


def _in_order(first: Candidate | None, fallback: Candidate | None) -> tuple[Candidate, ...]:
    # A fallback that is the very same model would only fail the same way.
    candidates = (first, fallback if fallback is not first else None)
    return tuple(candidate for candidate in candidates if candidate is not None)
