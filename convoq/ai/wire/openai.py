"""Answers of OpenAI's dialect: what must be there is made so, and what is not needed may be anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, TypeGuard

from convoq.ai.wire.errors import Unreadable, is_text, kind_of, word

Json = dict[str, Any]

# Nothing here is read, but pydantic would refuse the whole answer for one of the wrong shape.
_UNREAD: Final = {
    "answer": ("system_fingerprint", "service_tier", "moderation", "metadata"),
    "choice": ("logprobs",),
    "message": ("annotations", "audio", "function_call"),
}
_CUT: Final = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})


def error_in(answer: Json) -> object:
    """The error that stands where an answer should; an answer with words is one in spite of it."""
    choice = _first_choice(answer) or {}
    message = _message(choice)
    if isinstance(message, dict) and (message.get("content") or message.get("tool_calls")):
        return None
    return answer.get("error") or choice.get("error")


def repaired(answer: Json) -> Json:
    """Raises Unreadable where neither text nor tool call can be."""
    choices = answer.get("choices", [answer] if isinstance(answer.get("message"), dict) else None)
    if not isinstance(choices, list):
        raise Unreadable("choices is missing" if choices is None else f"choices is {kind_of(choices)}, not a list")
    if not choices:
        raise Unreadable("choices is empty")
    return _without(answer, "answer") | {
        "id": word(answer.get("id")),
        "object": "chat.completion",
        "created": created if _is_count(created := answer.get("created")) else 0,
        "model": word(answer.get("model")),
        "choices": [_choice(choices[0])],
        "usage": _usage(answer.get("usage")),
    }


def _choice(choice: object) -> Json:
    if not isinstance(choice, dict):
        raise Unreadable(f"choices[0] is {kind_of(choice)}, not an object")
    message = _message(choice)
    if message is None:
        raise Unreadable("choices[0].message is missing")
    if not isinstance(message, dict):
        raise Unreadable(f"choices[0].message is {kind_of(message)}, not an object")
    calls, refusal = _tool_calls(message.get("tool_calls")), message.get("refusal")
    return _without(choice, "choice") | {
        "index": 0,
        "finish_reason": _finish_reason(choice.get("finish_reason"), calls),
        "message": _without(message, "message")
        | {
            "role": "assistant",
            "content": _content(message.get("content")),
            "tool_calls": calls or None,
            "refusal": refusal if isinstance(refusal, str) else None,
        },
    }


def _first_choice(answer: Json) -> Json | None:
    choices = answer.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _message(choice: Json) -> Any:
    """What is said, also where a completion's `text` or a chunk's `delta` stands in for a message."""
    if (message := choice.get("message")) is not None:
        return message
    if isinstance(text := choice.get("text"), str):
        return {"content": text}
    return choice.get("delta")


def _content(content: object) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) or is_text(content):
        return _said(content)
    raise Unreadable(f"choices[0].message.content is {kind_of(content)}, not a text")


def _said(content: object) -> str:
    """The words for the person: of parts those that are text, not what was thought, pictures and references."""
    if isinstance(content, list):
        return "".join(map(_said, content))
    if is_text(content):
        text = content.get("text", content.get("content"))
        return _said(text.get("value") if isinstance(text, dict) else text)
    return word(content)


def _tool_calls(calls: object) -> list[Json]:
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise Unreadable(f"choices[0].message.tool_calls is {kind_of(calls)}, not a list")
    return [_tool_call(call, f"choices[0].message.tool_calls[{index}]") for index, call in enumerate(calls)]


def _tool_call(call: object, where: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Unreadable(f"{where}.function.name is missing")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments)
    return call | {
        "id": word(call.get("id")),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def _finish_reason(reason: object, calls: list[Json]) -> str:
    known = word(reason).lower()
    return "length" if known in _CUT else known or ("tool_calls" if calls else "stop")


def _usage(usage: object) -> Json | None:
    """None, and so an estimate, unless both counts are there."""
    if not isinstance(usage, dict):
        return None
    sent, received = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (_is_count(sent) and _is_count(received)):
        return None
    details = {
        name: {key: count for key, count in counts.items() if _is_count(count)}
        for name in ("prompt_tokens_details", "completion_tokens_details")
        if isinstance(counts := usage.get(name), dict)
    }
    return {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received} | details


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _without(fields: Json, level: str) -> Json:
    return {name: value for name, value in fields.items() if name not in _UNREAD[level]}


def joined(events: Iterable[Json], *, done: bool) -> Json:
    """The completion that the chunks of a stream add up to. Raises Unreadable when its end is missing."""
    answer, message, calls = Json(), Json(), dict[str, Json]()
    finish_reason: object = "stop" if done else None
    for event in events:
        answer |= {name: event[name] for name in ("id", "model", "usage") if event.get(name)}
        if (choice := _first_choice(event)) is None:
            continue
        finish_reason = choice.get("finish_reason") or finish_reason
        if not isinstance(said := _message(choice), dict):
            continue
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            if piece := _said(said.get(name)):
                message[name] = word(message.get(name)) + piece
        _join_calls(calls, said.get("tool_calls"))
        if "message" in choice:
            finish_reason = finish_reason or "stop"
    if finish_reason is None:
        raise Unreadable("its stream of events ends before the answer does: no finish_reason came")
    message["tool_calls"] = list(calls.values()) or None
    return answer | {"choices": [{"message": message, "finish_reason": finish_reason}]}


def _join_calls(calls: dict[str, Json], pieces: object) -> None:
    for number, piece in enumerate(pieces if isinstance(pieces, list) else []):
        if not isinstance(piece, dict) or not isinstance(function := piece.get("function"), dict):
            continue
        call = calls.setdefault(str(piece.get("index", number)), {"id": "", "function": {"name": "", "arguments": ""}})
        call["id"] = call["id"] or word(piece.get("id"))
        call["function"]["name"] += word(function.get("name"))
        call["function"]["arguments"] += word(function.get("arguments"))
