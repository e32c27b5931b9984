"""A conversation as the AI library's messages, and how less of it is shown to a model that has no room for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from convoq.ai.prompt import PromptTurn


def to_messages(turns: Sequence[PromptTurn]) -> list[ModelMessage]:
    return [
        ModelRequest(parts=[UserPromptPart(turn.text)])
        if turn.by_contact
        else ModelResponse(parts=[TextPart(turn.text)])
        for turn in turns
    ]


def to_request(
    turns: Sequence[PromptTurn], instructions: Sequence[str], tools: Sequence[ToolDefinition] = ()
) -> tuple[list[ModelMessage], ModelRequestParameters]:
    """What a model is asked for the last of the turns: as an agent with these instructions and tools would ask."""
    *history, asked = turns
    request = ModelRequest(parts=[UserPromptPart(asked.text)], instructions="\n\n".join(instructions))
    parameters = ModelRequestParameters(
        function_tools=list(tools), instruction_parts=[InstructionPart(text) for text in instructions]
    )
    return [*to_messages(history), request], parameters


def show_less(
    messages: Sequence[ModelMessage], before: Sequence[PromptTurn], after: Sequence[PromptTurn]
) -> list[ModelMessage] | None:
    """The messages of a run with other turns in place of those that it began with. What came of the run, such as the
    results of tools, stays. None when an agent of the user's has rewritten what is to be answered."""
    asked = next((index for index, message in enumerate(messages) if _prompt(message) == before[-1].text), None)
    if asked is None:
        return None
    # A history that the agent has rewritten must not come back as it was: then only what is asked is left.
    as_given = [_text(message) for message in messages[:asked]] == [turn.text for turn in before[:-1]]
    shown = [*to_messages(after[:-1] if as_given else ()), _asking(messages[asked], after[-1].text)]
    return [_with_system_prompt(shown[0], messages[0]), *shown[1:], *messages[asked + 1 :]]


def _prompt(message: ModelMessage) -> object:
    prompts = [part.content for part in message.parts if isinstance(part, UserPromptPart)]
    return prompts[0] if len(prompts) == 1 else None


def _text(message: ModelMessage) -> object:
    if isinstance(message, ModelRequest):
        return _prompt(message)
    return "".join(part.content for part in message.parts if isinstance(part, TextPart))


def _asking(message: ModelMessage, text: str) -> ModelMessage:
    """The same request, with its instructions, asking for something else."""
    assert isinstance(message, ModelRequest)  # noqa: S101  # only a request has a prompt
    parts = [replace(part, content=text) if isinstance(part, UserPromptPart) else part for part in message.parts]
    return replace(message, parts=parts)


def _with_system_prompt(first: ModelMessage, before: ModelMessage) -> ModelMessage:
    """Pydantic AI keeps an agent's system prompt inside the first message."""
    system = [part for part in before.parts if isinstance(part, SystemPromptPart)]
    if not system or not isinstance(first, ModelRequest):
        return first
    return replace(first, parts=[*system, *(part for part in first.parts if not isinstance(part, SystemPromptPart))])
