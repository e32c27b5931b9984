"""How OpenAI's and Anthropic's APIs spell a request, an answer and an error."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from convoq.loopback.faults import ModelFault


@dataclass(frozen=True, slots=True)
class ToolCall:
    """An answer that asks for a tool instead of saying something."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as the model reads it, in either dialect."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that arrived."""

    dialect: str  #: openai or anthropic
    headers: dict[str, str]
    body: dict[str, Any]
    messages: tuple[ChatMessage, ...]  #: the system prompt first

    @property
    def system(self) -> str:
        return "\n".join(message.text for message in self.messages if message.role == "system")


class Dialect:
    """One API's wire format."""

    name: str

    def needs(self, request: RecordedRequest) -> int:
        """Tokens of the request and of the longest answer that it allows."""
        longest = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or 0
        return _weigh(request, "")[0] + int(longest)

    def messages(self, body: dict[str, Any]) -> list[ChatMessage]:
        raise NotImplementedError

    def answer(
        self, reply: str | ToolCall, request: RecordedRequest, fault: ModelFault | None, report_usage: bool
    ) -> dict[str, Any]:
        raise NotImplementedError

    def error(self, fault: ModelFault) -> dict[str, Any]:
        raise NotImplementedError


class OpenAi(Dialect):
    name = "openai"

    def messages(self, body: dict[str, Any]) -> list[ChatMessage]:
        return [ChatMessage(_role(one["role"]), _text(one.get("content"))) for one in body["messages"]]

    def answer(
        self, reply: str | ToolCall, request: RecordedRequest, fault: ModelFault | None, report_usage: bool
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply if isinstance(reply, str) else None}
        finish_reason = (
            {ModelFault.CUT: "length", ModelFault.REFUSAL: "content_filter"}.get(fault, "stop") if fault else "stop"
        )
        if isinstance(reply, ToolCall):
            function = {"name": reply.name, "arguments": json.dumps(reply.arguments)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
            finish_reason = "tool_calls"
        if fault is ModelFault.REFUSAL:
            message["refusal"] = "I cannot help with that."
        sent, received = _weigh(request, reply)
        usage = {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}
        return {
            "id": "chatcmpl-loopback",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": request.body["model"],
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        } | ({"usage": usage} if report_usage else {})

    def error(self, fault: ModelFault) -> dict[str, Any]:
        message, kind, code = {
            ModelFault.UNAUTHORIZED: (
                "Incorrect API key provided: sk-lo***ck.",
                "invalid_request_error",
                "invalid_api_key",
            ),
            ModelFault.NOT_FOUND: ("The model does not exist", "invalid_request_error", "model_not_found"),
            ModelFault.OVERFLOW: (
                "This model's maximum context length is 8192 tokens.",
                "invalid_request_error",
                "context_length_exceeded",
            ),
            ModelFault.NO_TOOLS: ("llama2 does not support tools", "invalid_request_error", None),
            ModelFault.REJECTED: (f"Invalid value for 'temperature'. {_request_id()}", "invalid_request_error", None),
            ModelFault.RATE_LIMITED: ("Rate limit reached.", "tokens", "rate_limit_exceeded"),
            ModelFault.NO_CREDIT: ("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
            ModelFault.SERVER_ERROR: ("The server had an error.", "server_error", None),
            ModelFault.OVERLOADED: ("The engine is overloaded.", "server_error", "overloaded"),
        }[fault]
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Anthropic(Dialect):
    name = "anthropic"

    def messages(self, body: dict[str, Any]) -> list[ChatMessage]:
        system = [ChatMessage("system", _text(body["system"]))] if body.get("system") else []
        return system + [ChatMessage(_role(one["role"]), _text(one["content"])) for one in body["messages"]]

    def answer(
        self, reply: str | ToolCall, request: RecordedRequest, fault: ModelFault | None, report_usage: bool
    ) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": reply}] if isinstance(reply, str) and reply else []
        stop_reason = (
            {ModelFault.CUT: "max_tokens", ModelFault.REFUSAL: "refusal", ModelFault.PAUSE: "pause_turn"}.get(
                fault, "end_turn"
            )
            if fault
            else "end_turn"
        )
        if isinstance(reply, ToolCall):
            content = [{"type": "tool_use", "id": "toolu_1", "name": reply.name, "input": reply.arguments}]
            stop_reason = "tool_use"
        sent, received = _weigh(request, reply) if report_usage else (0, 0)
        return {
            "id": "msg_loopback",
            "type": "message",
            "role": "assistant",
            "model": request.body["model"],
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": sent, "output_tokens": received},
        }

    def error(self, fault: ModelFault) -> dict[str, Any]:
        kind, message = {
            ModelFault.UNAUTHORIZED: ("authentication_error", "invalid x-api-key"),
            ModelFault.NOT_FOUND: ("not_found_error", "model: unknown"),
            ModelFault.OVERFLOW: ("invalid_request_error", "prompt is too long: 9000 tokens > 8192 maximum"),
            ModelFault.NO_TOOLS: ("invalid_request_error", "this model does not support tools"),
            ModelFault.REJECTED: ("invalid_request_error", f"temperature: out of range {_request_id()}"),
            ModelFault.RATE_LIMITED: ("rate_limit_error", "This request would exceed your rate limit."),
            ModelFault.NO_CREDIT: ("billing_error", "Your credit balance is too low."),
            ModelFault.SERVER_ERROR: ("api_error", "Internal server error"),
            ModelFault.OVERLOADED: ("overloaded_error", "Overloaded"),
        }[fault]
        return {"type": "error", "error": {"type": kind, "message": message}}


def _request_id() -> str:
    """What makes a sentence another with each request, as gateways say it."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return f"(request id: {secrets.token_urlsafe(9)}1, trace {uuid.uuid4()}, {now})"


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part.get("text") or part.get("content")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _weigh(request: RecordedRequest, reply: str | ToolCall) -> tuple[int, int]:
    sent = sum(len(message.text) for message in request.messages) // 4 + 1
    return sent, len(str(reply)) // 4 + 1
