"""What a model may do instead of answering: the tools for it, and what becomes of its calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_ai import FunctionToolset, ModelRetry, Tool
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart
from pydantic_ai.tools import ToolDefinition

from convoq.ai.base import Act, HandoverReason, HandoverRequest
from convoq.ai.echo import prints_prompt
from convoq.ai.reply import clean

LONGEST_NOTE: Final = 500  #: characters
MOST_CALLS: Final = 5  #: of a tool in a run of an agent, as far as nothing came of them

_SENTENCE_MISSING: Final = (
    "Nothing is done: `sentence` is empty, and it is all that the person will read. Call the tool again with a "
    "sentence to them, in their language."
)

_DESCRIPTIONS: Final[Mapping[Act, str]] = {
    Act.HAND_OVER: (
        "Hand the conversation over to a human colleague. Call it when the person asks for a human, complains, needs a "
        "decision or an action that you were not given, when you cannot be sure of the answer, or when somebody may be "
        "in danger. Nothing else that you say in this turn is sent, and you are not asked again before the colleague "
        "is done."
    ),
    Act.END: (
        "Close the conversation. Call it only when the person has clearly said that they need nothing more. Nothing "
        "else that you say in this turn is sent."
    ),
}
_SENTENCE: Final[Mapping[Act, str]] = {
    Act.HAND_OVER: (
        "What the person is told, in their language: that a colleague will answer here, and what you can answer "
        "yourself."
    ),
    Act.END: "The last that the person reads, in their language: a short goodbye.",
}
_REASONS: Final[Mapping[HandoverReason, str]] = {
    HandoverReason.ASKED: "the person wants a human",
    HandoverReason.COMPLAINT: "the person is unhappy with the business",
    HandoverReason.MANDATE: "it is not yours to decide or to do",
    HandoverReason.UNSURE: "you do not know",
    HandoverReason.SAFETY: "somebody may be in danger",
    HandoverReason.OTHER: "anything else",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What the model has decided to do, and what the person is told of it: nothing, where it found no words."""

    act: Act
    sentence: str
    handover: HandoverRequest | None = None


class Decided(Exception):
    """The run of an agent is over: the model has decided to do something else than to answer."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.act)
        self.decision = decision


class Acting:
    """The acts that are offered in one turn. `instructions`: the system prompt, which no sentence may print."""

    def __init__(self, acts: Collection[Act], instructions: str) -> None:
        self.acts: Final = frozenset(acts)
        self.names: Final = frozenset(act.value for act in acts)
        self._instructions = instructions
        self._refused: Decision | None = None

    def decide(self, name: str, arguments: Mapping[str, Any]) -> Decision | str:
        """What is to be done; or what the model is told, once, because it has no words for the person."""
        decision = self._decision(Act(name), arguments)
        if decision.sentence or self._refused is not None:
            return decision
        self._refused = decision
        return _SENTENCE_MISSING

    def decide_by(self, text: str) -> Decision | None:
        """What is done after a text: what was refused for having none. None: the text is an answer."""
        if self._refused is None:
            return None
        return replace(self._refused, sentence=clean(text, self.names))

    def answered(self, response: ModelResponse, name: str, said: str) -> ModelRequest:
        """What the model is told of its calls: something of that one, and that the others are not done."""
        return ModelRequest(
            parts=[
                ToolReturnPart(
                    call.tool_name, said if call.tool_name == name else "Nothing is done.", call.tool_call_id
                )
                for call in response.tool_calls
            ],
            instructions=self._instructions,
        )

    def _decision(self, act: Act, arguments: Mapping[str, Any]) -> Decision:
        sentence = clean(_text(arguments.get("sentence")), self.names)
        if prints_prompt(sentence, self._instructions):
            sentence = ""
        reason = _text(arguments.get("reason")).strip().lower()
        known = HandoverReason(reason) if reason in set(HandoverReason) else HandoverReason.OTHER
        note = " ".join(clean(_text(arguments.get("note"))).split())[:LONGEST_NOTE].rstrip() or None
        return Decision(act, sentence, HandoverRequest(known, note) if act is Act.HAND_OVER else None)


def definitions(acts: Collection[Act]) -> list[ToolDefinition]:
    """The tools of these acts, as a model is told of them."""
    return [_tool(act, _never).tool_def for act in sorted(acts)]


def toolset(acting: Acting) -> FunctionToolset[Any]:
    """The same for an agent's run, which ends with Decided."""
    return FunctionToolset([_tool(act, _deciding(acting, act)) for act in sorted(acting.acts)], max_retries=MOST_CALLS)


def names_of_own_tools(agent: AbstractAgent[Any, Any]) -> frozenset[str]:
    """Of those that a user's agent lists in its code: where one has a name of ours, it is theirs."""
    own = [toolset for toolset in agent.toolsets if isinstance(toolset, FunctionToolset)]
    return frozenset(name for toolset in own for name in toolset.tools)


def _tool(act: Act, function: Callable[..., Coroutine[Any, Any, str]]) -> Tool[Any]:
    return Tool.from_schema(function, act.value, _DESCRIPTIONS[act], _schema(act))


def _schema(act: Act) -> dict[str, Any]:
    properties: dict[str, Any] = {"sentence": {"type": "string", "description": _SENTENCE[act]}}
    if act is Act.HAND_OVER:
        why = "; ".join(f"{reason}: {meaning}" for reason, meaning in _REASONS.items())
        properties = {
            "reason": {"type": "string", "enum": [reason.value for reason in HandoverReason], "description": why},
            **properties,
            "note": {"type": "string", "description": "For the colleague alone: what this is about, in one line."},
        }
    required = [name for name in properties if name != "note"]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _deciding(acting: Acting, name: str) -> Callable[..., Coroutine[Any, Any, str]]:
    async def decide(**arguments: Any) -> str:
        decision = acting.decide(name, arguments)
        if isinstance(decision, Decision):
            raise Decided(decision)
        raise ModelRetry(decision)

    return decide


async def _never(**_: Any) -> str:
    raise AssertionError("a definition is only shown")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def first_call(response: ModelResponse, names: Collection[str]) -> tuple[str, Mapping[str, Any]] | None:
    """The name and the arguments of the first call of one of these tools."""
    calls: Sequence[Any] = [call for call in response.tool_calls if call.tool_name in names]
    return (calls[0].tool_name, calls[0].args_as_dict()) if calls else None
