"""What an answer may cost: every request of its turn counts, whichever agent makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import ceil
from threading import Lock
from typing import Any, Final, TypeVar

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from convoq.ai.base import Allowance, AllowanceSpent, CallBound, ModelCall, hold_nothing
from convoq.ai.context import estimate_tokens
from convoq.ai.failures import ModelFailure

T = TypeVar("T")

LEAST_TOKENS: Final = 16  #: that providers take as a limit
TOKENS_A_SECOND: Final = 100  #: that a model may have written of an answer that was lost; most hosted ones write fewer
PART_OVERHEAD: Final = 16  #: tokens, at most, of the roles and separators around a part
TOOLS_OVERHEAD: Final = 1000  #: tokens, at most, of what a provider says of tools by itself
LOOK_AGAIN: Final = 0.05  # seconds; requests take longer
LONGEST_WAIT: Final = 60.0  # seconds, for the requests beside it
CUT_OFF_GRACE: Final = 5.0  # seconds for the record of a request that is cut off


@dataclass(eq=False, slots=True)
class Reservation:
    """One request's part of the allowance, from before it is sent until it is charged."""

    settings: ModelSettings  #: its own, with the limit that it was granted
    tokens: int
    hold: int | None = None  #: of its budgets
    is_held: bool = True
    task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)  #: in which it is made

    @property
    def is_under_way(self) -> bool:
        """Not the caller's own, and not one of a stream that its task has left open."""
        return self.task is not None and self.task is not asyncio.current_task() and not self.task.done()

    def cut_off(self) -> None:
        if self.task is not None:
            with suppress(RuntimeError):  # the loop of a thread, closed meanwhile
                self.task.get_loop().call_soon_threadsafe(self.task.cancel)


class Spending:
    """What is left of an allowance. `hold` is asked before every request, and `record` gets it when it has ended, on
    the loop that this was made on.

    `limit`: tokens that a request may write for which its agent says nothing.
    """

    def __init__(
        self,
        allowance: Allowance,
        record: Callable[[ModelCall], Awaitable[None]],
        *,
        hold: Callable[[CallBound], Awaitable[int | None]] = hold_nothing,
        limit: int,
    ) -> None:
        self._requests_left = allowance.requests
        self._tokens_left = allowance.output_tokens
        self._record = record
        self._hold = hold
        self._limit = limit
        self._reserved: set[Reservation] = set()  # until what they came to is recorded, too
        self._has_ended = False
        self._lock = Lock()  # a tool that is no coroutine asks from a thread
        self._loop = asyncio.get_running_loop()

    @property
    def is_spent(self) -> bool:
        return self._requests_left <= 0 or self._tokens_left <= 0

    @property
    def asks_left(self) -> int:
        """Requests of the usual limit that may still be made."""
        return max(0, min(self._requests_left, ceil(self._tokens_left / self._limit)))

    @asynccontextmanager
    async def reserved(
        self,
        settings: ModelSettings | None,
        model: str,
        messages: Sequence[ModelMessage],
        parameters: ModelRequestParameters,
    ) -> AsyncIterator[Reservation]:
        """Around a request: there are never more at the same time than requests and tokens are left for.

        One that would get fewer tokens than it asks for, because of those beside it, waits for what they leave. Raises
        AllowanceSpent where there may be no further one, BudgetReached where it could exceed a budget.
        """
        reservation = await self._reserve(settings or ModelSettings())
        try:
            if self._hold is not hold_nothing:
                bound = CallBound(
                    model=model,
                    input_tokens=_estimate(messages),
                    most_input_tokens=most_tokens(messages, parameters),
                    output_tokens=reservation.tokens,
                )
                reservation.hold = await self._on_loop(self._hold(bound))
            yield reservation
        finally:
            with self._lock:
                self._reserved.discard(reservation)

    async def end(self) -> None:
        """No request is made any more. Those that a tool has left under way are cut off, and recorded first.

        Else they would cost the message more than what the next answer to it sees spent.
        """
        with self._lock:
            self._has_ended = True
        for reservation in (under_way := self._under_way()):
            reservation.cut_off()
        started = time.monotonic()
        while under_way and time.monotonic() - started < CUT_OFF_GRACE:
            await asyncio.sleep(LOOK_AGAIN)
            under_way = self._under_way()

    def _under_way(self) -> list[Reservation]:
        with self._lock:
            return [reservation for reservation in self._reserved if reservation.is_under_way]

    async def _reserve(self, settings: ModelSettings) -> Reservation:
        limit = settings.get("max_tokens") or self._limit
        started = time.monotonic()
        while (reservation := self._grant(limit, settings)) is None:
            if time.monotonic() - started > LONGEST_WAIT:  # it waits for itself: inside a stream that it is part of
                raise AllowanceSpent("the requests beside it hold all that the answer may cost")
            await asyncio.sleep(LOOK_AGAIN)
        return reservation

    def _grant(self, limit: int, settings: ModelSettings) -> Reservation | None:
        """None: the requests under way may leave it more."""
        with self._lock:
            held = [reservation.tokens for reservation in self._reserved if reservation.is_held]
            if self.is_spent or self._requests_left <= len(held):
                raise AllowanceSpent("the answer has cost all that it may")
            if self._has_ended:
                raise AllowanceSpent("the turn that it was to be asked for is over")
            tokens = max(min(limit, self._tokens_left), LEAST_TOKENS)
            if held and self._tokens_left - sum(held) < tokens:
                return None
            reservation = Reservation(ModelSettings(**{**settings, "max_tokens": tokens}), tokens)
            self._reserved.add(reservation)
            return reservation

    async def store(
        self,
        reservation: Reservation,
        model: str,
        messages: Sequence[ModelMessage],
        response: ModelResponse | None,
        failure: ModelFailure | None,
        seconds: float,
    ) -> None:
        sent, received = _tokens(messages, response, failure)
        unheard = response is None and failure is not None and failure.unheard
        call = ModelCall(
            model=model,
            outcome=failure.outcome if failure else "ok",
            input_tokens=sent,
            cached_tokens=min(response.usage.cache_read_tokens, sent) if response else 0,
            output_tokens=received,
            unheard_tokens=reservation.tokens if unheard else 0,
            assumed_tokens=min(reservation.tokens, ceil(seconds * TOKENS_A_SECOND)) if unheard else 0,
            hold=reservation.hold,
            duration_ms=round(seconds * 1000),
            error=failure.reason if failure else None,
        )
        with self._lock:
            reservation.is_held = False
            if call.is_billed:
                self._requests_left -= 1
                self._tokens_left -= call.output_tokens + call.assumed_tokens
        await self._on_loop(self._record(call))

    async def _on_loop(self, awaitable: Awaitable[T]) -> T:
        if asyncio.get_running_loop() is self._loop:
            return await awaitable
        # A tool that is no coroutine runs in a thread, and its agents on a loop of their own.
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(awaitable), self._loop))


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _tokens(
    messages: Sequence[ModelMessage], response: ModelResponse | None, failure: ModelFailure | None
) -> tuple[int, int]:
    if response is not None:
        usage = response.usage
        return usage.input_tokens or _estimate(messages), usage.output_tokens or _estimate([response])
    # A request that was cut off is billed for what it was sent; one that was turned down is not.
    return (_estimate(messages) if failure is not None and failure.unheard else 0), 0


def most_tokens(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> int:
    """That they can be for any model: a token is at least one byte of what is sent."""
    parts = [part for message in messages for part in message.parts]
    texts = [getattr(part, name, "") for part in parts for name in ("content", "tool_name", "args")]
    texts += [message.instructions for message in messages if isinstance(message, ModelRequest)]
    tools = (*parameters.function_tools, *parameters.output_tools)
    sizes = [_bytes(text) for text in (*texts, *tools) if text]
    return sum(sizes) + PART_OVERHEAD * (len(parts) + len(messages)) + (TOOLS_OVERHEAD if tools else 0)


def _bytes(value: object) -> int:
    return len((value if isinstance(value, str) else repr(value)).encode(errors="replace"))


def _estimate(messages: Sequence[ModelMessage]) -> int:
    texts = [_text(part) for message in messages for part in message.parts]
    texts += [message.instructions or "" for message in messages[-1:] if isinstance(message, ModelRequest)]
    return sum(map(estimate_tokens, texts))


def _text(part: object) -> str:
    match part:
        case UserPromptPart(content=str(text)) | TextPart(content=text) | ThinkingPart(content=text):
            return text
        case ToolCallPart():
            return part.args_as_json_str()
    return ""
