"""The model of one turn: asks the configured models in order, within deadlines, and records every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
)
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings, merge_model_settings
from pydantic_ai.tools import RunContext

from convoq.ai.base import AccountRefused, AllowanceSpent, AnswerLost, AnswerRefused, Useless
from convoq.ai.breakers import ModelBreakers
from convoq.ai.failures import CANCELLED, ModelFailure, request_failure, response_failure
from convoq.ai.messages import show_less
from convoq.ai.shown import Shown
from convoq.ai.spending import Reservation, Spending
from convoq.breaker import SEVERAL, SHORTEST
from convoq.errors import RetryLater, Unrecoverable
from convoq.text import without_ids

MOST_USELESS: Final = 2  #: answers without use, the empty ones among them, that a candidate may give
LARGER: Final = 4  #: times its limit for a model that has thought up to it and said nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A model that may answer."""

    label: str  #: for people: "openai:gpt-5-mini"
    model: Model[Any]
    breakers: ModelBreakers  #: shared by all turns that ask it
    toolless: set[str] = field(default_factory=set)  #: its label, once it has refused tools of ours
    rejected: dict[str, set[int]] = field(default_factory=dict)  #: conversations, by refusal, since it has answered one
    defaults: ModelSettings = field(default_factory=ModelSettings)  #: settings that the agent's own override


class TurnModel(WrapperModel):
    """One turn's model, also for an agent: answers with the first candidate that does.

    Each request has `timeout` seconds, and none outlasts `ends_at` (seconds on `clock`). Of what is `shown`, a model
    is shown half as much as often as it does not fit; an empty or unusable answer is asked for once more; then comes
    the next candidate. When none answers, raises AccountRefused if a mended account would help, Useless if one has
    answered without use, RetryLater if time may help (AnswerLost: one was at work), else Unrecoverable with what to
    check. Every request counts, and
    none is made beyond what `spending` has left: then raises AllowanceSpent.
    `spending` records every request, cut off ones too. `is_agents`: what it says may be a step of an agent's run;
    `acts` is called before tools that an answer asks for are run, other than those `of_ours`, which only decide.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        *,
        spending: Spending,
        acts: Callable[[], None],
        timeout: float,
        ends_at: float,
        clock: Callable[[], float],
        shown: Shown,
        conversation: int,
        is_agents: bool,
        of_ours: Collection[str] = (),
    ) -> None:
        super().__init__(candidates[0].model)
        self.answered_by: str = candidates[0].label
        self.offered: Collection[str] = ()  #: the names of the tools that the last answer could call
        self._has_begun = False
        self._conversation = conversation
        self._is_agents = is_agents
        self._of_ours = of_ours
        self._candidates = candidates
        self.spending = spending
        self._acts = acts
        self._timeout = timeout
        self._ends_at = ends_at
        self._clock = clock
        self._shown = shown  # what the run's messages begin with
        self._fitting: dict[str, Shown] = {}  # what of it a candidate has room for

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        failures: list[tuple[Candidate, ModelFailure]] = []
        # A model that just failed is asked last: the turn must not wait out its deadline while another model works.
        for candidate in sorted(self._candidates, key=lambda one: one.breakers.resting):
            if self.spending.is_spent:
                break
            # A turn whose tools may have acted goes on: begun again, they would act again.
            wait, cause = (0.0, None) if self._has_begun else candidate.breakers.admit(self._conversation)
            if cause is not None:
                failures.append((candidate, cause.told_to_others(wait)))
                continue
            try:
                answer = await self._ask(candidate, messages, model_settings, model_request_parameters)
            finally:
                candidate.breakers.abandoned()
            if isinstance(answer, ModelResponse):
                self.answered_by = candidate.label
                self._has_begun = True
                if self._is_agents and any(call.tool_name not in self._of_ours for call in answer.tool_calls):
                    self._acts()
                return answer
            failures.append((candidate, answer))
        if self.spending.is_spent and not any(failure.lost for _, failure in failures):
            said = _reasons(failures) or f"model {self.answered_by}: it came to no end"
            raise AllowanceSpent(said)
        raise _final_error(failures, self.spending.asks_left)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # noqa: ARG002  # part of the signature
    ) -> AsyncGenerator[StreamedResponse]:
        # An agent that listens to events gets them from the whole answer, so that the same rules hold for it.
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(response, model_request_parameters=model_request_parameters, replay_events=True)

    def prepare_messages(
        self,
        messages: list[ModelMessage],
        model_request_parameters: ModelRequestParameters | None = None,  # noqa: ARG002  # part of the signature
    ) -> list[ModelMessage]:
        # Each candidate prepares them in its own way when it is asked.
        return messages

    async def _ask(
        self,
        candidate: Candidate,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelResponse | ModelFailure:
        settings = _settings(candidate, model_settings)
        shown, useless = messages, 0
        if candidate.toolless and not self._is_agents:
            parameters = replace(parameters, function_tools=[])
        cut_off: ModelFailure | None = None
        # An earlier request of the run may have told how much it has room for.
        if fitting := self._fitting.get(candidate.label):
            shown = show_less(messages, self._shown.turns, fitting.turns) or messages
        while self._clock() < self._ends_at:
            # Beside those that tools have handed this model to.
            async with self.spending.reserved(settings, candidate.label, shown, parameters) as reservation:
                answer = await self._attempt(candidate, shown, reservation, parameters, is_trial=cut_off is not None)
            if isinstance(answer, ModelResponse):
                return answer
            if answer.overflow and (less := self._show_less(candidate, messages)):
                shown = less
            elif answer.no_tools and parameters.function_tools and not self._is_agents:
                candidate.toolless.add(candidate.label)
                parameters = replace(parameters, function_tools=[])
            elif answer.outcome in ("empty", "unusable") and useless + 1 < MOST_USELESS and not self.spending.is_spent:
                useless += 1
                if answer.cut_off:
                    cut_off, settings = answer, _with_larger_limit(settings)
            else:
                # A model that takes no larger limit has said what is wrong before.
                return cut_off if cut_off and answer.outcome == "permanent" else answer
        return ModelFailure(outcome="timeout", reason="no time was left to ask it")

    def _show_less(self, candidate: Candidate, messages: list[ModelMessage]) -> list[ModelMessage] | None:
        """Half of what the candidate was shown; None when there is nothing left to leave out."""
        smaller = self._fitting.get(candidate.label, self._shown).halved()
        if smaller is None:
            return None
        self._fitting[candidate.label] = smaller
        return show_less(messages, self._shown.turns, smaller.turns)

    async def _attempt(
        self,
        candidate: Candidate,
        messages: list[ModelMessage],
        reservation: Reservation,
        parameters: ModelRequestParameters,
        *,
        is_trial: bool,
    ) -> ModelResponse | ModelFailure:
        started = self._clock()
        limit = min(self._timeout, self._ends_at - started)
        response: ModelResponse | None = None
        failure: ModelFailure | None
        self.offered = offered = [tool.name for tool in parameters.function_tools]
        try:
            async with asyncio.timeout(limit):
                prepared = candidate.model.prepare_messages(messages, parameters)
                response = await candidate.model.request(prepared, reservation.settings, parameters)
            failure = response_failure(response, _instructions(messages), is_agents=self._is_agents, tools=offered)
        except asyncio.CancelledError:
            await self.spending.store(reservation, candidate.label, messages, None, CANCELLED, self._clock() - started)
            raise
        except Exception as error:  # noqa: BLE001  # whatever a model's answer breaks is a failure of that model
            failure = request_failure(error, self._clock() - started)
        if not is_trial:  # whose larger limit may be what is refused
            failure = self._judged(candidate, failure)
        failure = self._tracked(candidate, failure, had_time=limit == self._timeout)
        await self.spending.store(reservation, candidate.label, messages, response, failure, self._clock() - started)
        if failure is not None:
            return failure
        assert response is not None  # noqa: S101  # a request that did not fail has a response
        return response

    def _judged(self, candidate: Candidate, failure: ModelFailure | None) -> ModelFailure | None:
        """What several conversations are refused alike, and none is answered between, is not their messages' fault."""
        if failure is None:
            candidate.rejected.clear()
        elif failure.outcome == "permanent" and not (failure.overflow or failure.no_tools):
            conversations = candidate.rejected.setdefault(without_ids(failure.reason), set())
            conversations.add(self._conversation)
            if len(conversations) >= SEVERAL:
                return replace(failure, outcome="misconfigured")
        return failure

    def _tracked(self, candidate: Candidate, failure: ModelFailure | None, *, had_time: bool) -> ModelFailure | None:
        if failure is None or not failure.outage:
            candidate.breakers.ended()
            return failure
        if failure.outcome == "timeout" and not had_time:  # which says nothing about the model
            return failure
        return replace(failure, retry_after=candidate.breakers.failed(self._conversation, failure))


def _settings(candidate: Candidate, model_settings: ModelSettings | None) -> ModelSettings:
    settings = merge_model_settings(candidate.defaults, model_settings) or ModelSettings()
    # When and whom to ask again is decided here and in the queue, never a second time inside an SDK. Said to one that
    # tries once as it is, it is made anew for the request.
    if getattr(getattr(candidate.model, "client", None), "max_retries", None) == 0:
        settings.pop("max_retries", None)
    elif "max_retries" not in candidate.model.unsupported_settings:
        settings = {**settings, "max_retries": 0}
    return settings


def _with_larger_limit(settings: ModelSettings) -> ModelSettings:
    limit = settings.get("max_tokens")
    return settings if limit is None else {**settings, "max_tokens": limit * LARGER}


def _reasons(failures: Sequence[tuple[Candidate, ModelFailure]]) -> str:
    return "; ".join(f"model {candidate.label}: {failure.reason}" for candidate, failure in failures)


def _final_error(failures: Sequence[tuple[Candidate, ModelFailure]], asks_left: int) -> RetryLater | Unrecoverable:
    reason = _reasons(failures)
    outcomes = {failure.outcome for _, failure in failures}
    # Held with a refusal, the model that refused would be asked, and paid, again until the account is mended.
    held = any(failure.is_for_all for _, failure in failures) and "refused" not in outcomes
    retryable = [failure for _, failure in failures if failure.transient or (held and failure.is_for_all)]
    if not retryable:
        return (AnswerRefused if "refused" in outcomes else Unrecoverable)(reason)
    delay = min(failure.retry_after or SHORTEST for failure in retryable)
    if held:
        return AccountRefused(delay, reason)
    if any(failure.useless for failure in retryable):
        return Useless(delay, reason)
    if lost := sum(failure.lost for _, failure in failures):
        return AnswerLost(delay, reason, asks_left=asks_left // lost)
    return RetryLater(delay, reason)


def _instructions(messages: Sequence[ModelMessage]) -> str:
    """The system prompt, wherever Pydantic AI keeps it."""
    requests = [message for message in messages if isinstance(message, ModelRequest)]
    parts = [part.content for request in requests for part in request.parts if isinstance(part, SystemPromptPart)]
    return "\n".join([*parts, *(request.instructions or "" for request in requests[-1:])])
