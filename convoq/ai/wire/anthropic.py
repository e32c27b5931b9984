"""Answers of Anthropic's dialect: what must be there is made so, and what is not needed may be anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from convoq.ai.wire.errors import Unreadable, as_object, is_text, kind_of, word

Json = dict[str, Any]


def error_in(answer: Json) -> object:
    """The error that stands where an answer should; an answer with words is one in spite of it."""
    return None if answer.get("content") else answer.get("error")


def repaired(answer: Json) -> Json:
    """Raises Unreadable where neither text nor tool call can be."""
    content = answer.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    elif is_text(content):
        content = [content]
    if not isinstance(content, list):
        raise Unreadable("content is missing" if content is None else f"content is {kind_of(content)}, not a list")
    blocks = [_block(block, index) for index, block in enumerate(content)]
    return answer | {
        "id": word(answer.get("id")),
        "type": "message",
        "role": "assistant",
        "model": word(answer.get("model")),
        "content": blocks,
        "stop_reason": word(answer.get("stop_reason")) or _stop_reason(blocks),
        "stop_sequence": answer.get("stop_sequence"),
        "usage": _usage(answer.get("usage")),
    }


def _block(block: object, index: int) -> Json:
    where = f"content[{index}]"
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if not isinstance(block, dict):
        raise Unreadable(f"{where} is {kind_of(block)}, not an object")
    if is_text(block) and isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    match block.get("type") or ("tool_use" if "input" in block else "text"):
        case "text":
            raise Unreadable(f"{where}.text is missing")
        case "tool_use":
            if not isinstance(block.get("name"), str):
                raise Unreadable(f"{where}.name is missing")
            return block | {"type": "tool_use", "id": word(block.get("id")), "input": block.get("input") or {}}
        case "thinking":
            return block | {"thinking": word(block.get("thinking")), "signature": word(block.get("signature"))}
        case _:
            return block


def _stop_reason(blocks: list[Json]) -> str:
    return "tool_use" if any(block.get("type") == "tool_use" for block in blocks) else "end_turn"


def _usage(usage: object) -> Json:
    """Its counts; those that are missing are 0, and so estimated."""
    known = {name: count for name, count in as_object(usage).items() if type(count) is int and count >= 0}
    return {"input_tokens": 0, "output_tokens": 0} | known


def joined(events: Iterable[Json], *, done: bool) -> Json:
    """The message that the events of a stream add up to. Raises Unreadable when its end is missing."""
    answer, blocks = Json(), dict[str, Json]()
    for event in events:
        index = str(event.get("index"))
        match event.get("type"):
            case "message_start":
                answer |= as_object(event.get("message"))
            case "content_block_start":
                blocks[index] = dict(as_object(event.get("content_block")))
            case "content_block_delta":
                _join_delta(blocks.setdefault(index, {}), as_object(event.get("delta")))
            case "message_delta":
                answer |= as_object(event.get("delta"))
                answer["usage"] = _usage(answer.get("usage")) | as_object(event.get("usage"))
            case "message_stop":
                done = True
            case "message":
                answer, done = answer | event, True
    if not (done or answer.get("stop_reason")):
        raise Unreadable("its stream of events ends before the answer does: no message_stop came")
    if blocks:
        answer["content"] = [_ended(block, index) for index, block in enumerate(blocks.values())]
    return answer


def _join_delta(block: Json, delta: Json) -> None:
    for name in ("text", "thinking", "signature", "partial_json"):
        if isinstance(piece := delta.get(name), str):
            block[name] = word(block.get(name)) + piece


def _ended(block: Json, index: int) -> Json:
    if (raw := block.pop("partial_json", "")) == "":
        return block
    try:
        return block | {"input": json.loads(raw)}
    except (ValueError, RecursionError):
        raise Unreadable(f"content[{index}].input is no JSON") from None
