"""Answers as servers write them, over HTTP: what holds a text is an answer, and what is refused names the field."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.exceptions import ModelHTTPError

from convoq.ai.base import Author
from convoq.ai.failures import request_failure
from convoq.ai.wire.errors import Unreadable
from convoq.ai.wire.repair import DIALECTS, repair
from convoq.errors import RetryLater, Unrecoverable
from convoq.settings import PersonaSettings
from tests.ai.conftest import Build, Conversation

OPENAI: Final[dict[str, Any]] = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "We open at 9."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
}  # fmt: skip
ANTHROPIC: Final[dict[str, Any]] = {
    "id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "text", "text": "We open at 9."}], "usage": {"input_tokens": 5, "output_tokens": 6},
}  # fmt: skip
NAMES: Final = {"openai": ["openai:gpt-test", "qwen"], "anthropic": ["anthropic:claude-test"]}


@dataclass
class RawModel:
    """A server that answers each request of either dialect with the next of these bodies."""

    bodies: list[bytes] = field(default_factory=list)
    content_type: str = "application/json"
    base_url: str = ""
    asked: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.bodies.pop(0), headers={"Content-Type": self.content_type})


@pytest.fixture
async def raw() -> AsyncIterator[RawModel]:
    model, app = RawModel(), web.Application()
    for path in DIALECTS:
        app.router.add_post(f"/v1{path}", model.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield model
    await runner.cleanup()


def without(answer: Mapping[str, Any], *path: str | int) -> Any:
    """The answer without one of its fields."""
    copy = json.loads(json.dumps(answer))
    place = copy
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return copy


def changed(answer: Mapping[str, Any], value: object, *path: str | int) -> Any:
    """The answer with another value in one of its fields."""
    copy = json.loads(json.dumps(answer))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copy


def sse(*events: object, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event)}\r\n\r\n" for event in events]
    return (": keep-alive\r\n\r\n" + "".join(lines) + ("data: [DONE]\r\n\r\n" if done else "")).encode()


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


TEXT: Final = {"type": "text", "text": "We open at 9."}
PARTS: Final = {
    "mistral": [{"type": "thinking", "thinking": [{"type": "text", "text": "They ask."}]}, TEXT],
    "mistral_closed": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "They ask."}], "closed": True}, TEXT,
        {"type": "reference", "reference_ids": [1]},
    ],
    "signed": [{"type": "thinking", "thinking": "They ask.", "signature": "x"}, TEXT],
    "redacted": [{"type": "redacted_thinking", "data": "x"}, TEXT],
    "reasoning": [{"type": "reasoning", "text": "They ask."}, TEXT],
    "output_text": [{"type": "output_text", "text": "We open "}, {"text": "at 9."}],
    "strings": ["We open ", "at 9."],
    "value": [{"type": "text", "text": {"value": "We open at 9.", "annotations": []}}],
    "content": [{"type": "text", "content": "We open at 9."}],
    "image": [{"type": "image_url", "image_url": {"url": "https://ex.com"}}, TEXT],
    "nested": [[TEXT]],
    "odd": [None, 17, TEXT],
    "object": TEXT,
}  # fmt: skip
FIRST, MESSAGE = ("choices", 0), ("choices", 0, "message")
OPENAI_FORMS: Final = {
    **{
        ".".join(map(str, path)): without(OPENAI, *path)
        for path in [
            ("id",), ("object",), ("created",), ("model",), ("usage",), (*FIRST, "index"), (*FIRST, "finish_reason"),
            (*MESSAGE, "role"), ("usage", "total_tokens"), ("usage", "prompt_tokens"),
        ]
    },
    "nulls": dict.fromkeys(OPENAI) | {"choices": OPENAI["choices"]},
    "numbers": dict.fromkeys(OPENAI, 17) | {"choices": OPENAI["choices"]},
    "bare": {"choices": [{"message": {"content": "We open at 9."}}]},
    "error_null": OPENAI | {"error": None},
    "unknown_finish": changed(OPENAI, "EOS_TOKEN", *FIRST, "finish_reason"),
    "odd_finish": changed(OPENAI, 17, *FIRST, "finish_reason"),
    "odd_logprobs": changed(OPENAI, "none", *FIRST, "logprobs"),
    "odd_details": changed(OPENAI, "none", "usage", "prompt_tokens_details"),
    "odd_service": OPENAI | {"service_tier": {"x": 1}, "system_fingerprint": 17, "metadata": []},
    "odd_extras": changed(OPENAI, "none", *MESSAGE, "annotations"),
    **{f"parts_{name}": changed(OPENAI, parts, *MESSAGE, "content") for name, parts in PARTS.items()},
    "legacy": {"choices": [{"text": "We open at 9."}]},
    "native": {"model": "m", "message": {"role": "assistant", "content": "We open at 9."}, "done": True},
    "listed": [OPENAI],
}  # fmt: skip
ANTHROPIC_FORMS: Final = {
    **{
        ".".join(map(str, path)): without(ANTHROPIC, *path)
        for path in [
            ("id",), ("type",), ("role",), ("model",), ("usage",), ("stop_reason",), ("stop_sequence",),
            ("usage", "input_tokens"), ("content", 0, "type"),
        ]
    },
    "nulls": dict.fromkeys(ANTHROPIC) | {"content": ANTHROPIC["content"]},
    "numbers": dict.fromkeys(ANTHROPIC, 17) | {"content": ANTHROPIC["content"]},
    "bare": {"content": [{"text": "We open at 9."}]},
    "text": {"content": "We open at 9."},
    "object": {"content": TEXT},
    "unknown_stop": ANTHROPIC | {"stop_reason": "EOS"},
    "odd_usage": ANTHROPIC | {"usage": {"input_tokens": "5", "output_tokens": None}},
    "other_type": changed(ANTHROPIC, "output_text", "content", 0, "type"),
    "thinking": changed(ANTHROPIC, [{"type": "thinking", "thinking": "Hm."}, *ANTHROPIC["content"]], "content"),
    "listed": [ANTHROPIC],
}  # fmt: skip
STREAMS: Final = {
    ("openai", "chunks"): sse(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "We open "}), chunk({"content": "at 9."}, "stop")
    ),
    **{
        ("openai", f"parts {name}"): sse(chunk({"content": parts}), chunk({"content": ""}, "stop"))
        for name, parts in PARTS.items()
    },
    ("openai", "no finish reason"): sse(chunk({"content": "We open at 9."})),
    ("openai", "no done"): sse(chunk({"content": "We open at 9."}, "stop"), {"choices": []}, done=False),
    ("openai", "whole"): sse(OPENAI, done=False),
    ("openai", "many lines"): b"data: " + json.dumps(OPENAI, indent=1).replace("\n", "\ndata: ").encode(),
    ("anthropic", "events"): sse(
        {"type": "message_start", "message": ANTHROPIC | {"content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "We open "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "at 9."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"}, done=False,
    ),
    ("anthropic", "whole"): sse(ANTHROPIC, done=False),
}  # fmt: skip
ANSWERS: Final = [
    *(("openai", form, json.dumps(answer).encode()) for form, answer in OPENAI_FORMS.items()),
    *(("anthropic", form, json.dumps(answer).encode()) for form, answer in ANTHROPIC_FORMS.items()),
    *((dialect, form, body) for (dialect, form), body in STREAMS.items()),
]


@pytest.mark.parametrize(
    ("name", "body"),
    [pytest.param(name, body, id=f"{name}-{form}") for dialect, form, body in ANSWERS for name in NAMES[dialect]],
)
async def test_what_holds_a_text_is_an_answer(
    build: Build, raw: RawModel, conversation: Conversation, name: str, body: bytes
) -> None:
    raw.bodies = [body]
    raw.content_type = "text/event-stream" if body[:1] in b":d" else "text/plain; charset=utf-8"
    reply = await build(model=name, base_url=raw.base_url).reply(conversation.context("when do you open?"))
    assert reply.text == "We open at 9."
    assert conversation.outcomes == ["ok"]
    assert conversation.calls[0].output_tokens > 0


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "max_output_tokens"])
async def test_an_answer_that_was_cut_is_known_by_any_word_for_it(
    build: Build, raw: RawModel, conversation: Conversation, reason: str
) -> None:
    answer = changed(OPENAI, reason, *FIRST, "finish_reason")
    answer = changed(answer, "We ship to Spain. It takes three days. Returns are", *MESSAGE, "content")
    raw.bodies = [json.dumps(answer).encode()]
    reply = await build(model="qwen", base_url=raw.base_url).reply(conversation.context("Spain?"))
    assert reply.text == "We ship to Spain. It takes three days."


REFUSED: Final = [
    ("openai", {"id": "x"}, "choices is missing"),
    ("openai", {"choices": 17}, "choices is a number, not a list"),
    ("openai", {"choices": []}, "choices is empty"),
    ("openai", {"choices": [None]}, r"choices\[0\] is null, not an object"),
    ("openai", {"choices": [{}]}, r"choices\[0\]\.message is missing"),
    ("openai", changed(OPENAI, {"a": 1}, *MESSAGE, "content"), r"message\.content is an object, not a text"),
    ("openai", {"detail": "pull it first"}, "choices is missing; it says: pull it first"),
    ("openai", "hello", "it is a text, not a JSON object"),
    ("openai", sse(chunk({"content": "We op"}), done=False), "its stream of events ends before the answer does"),
    ("openai", b'data: {"choices": [', "event 1 of its stream is no JSON"),
    ("anthropic", {"id": "x"}, "content is missing"),
    ("anthropic", {"content": 17}, "content is a number, not a list"),
    ("anthropic", {"content": [{"type": "text"}]}, r"content\[0\]\.text is missing"),
    ("anthropic", {"content": [None]}, r"content\[0\] is null, not an object"),
    ("anthropic", sse({"type": "message_start", "message": {}}, done=False), "no message_stop came"),
    ("anthropic", b"<html>Welcome!</html>", r"it is no JSON \(21 bytes\)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [pytest.param(name, *rest, id=f"{name}-{rest[1]}") for dialect, *rest in REFUSED for name in NAMES[dialect]],
)
async def test_what_is_refused_names_the_field(
    build: Build, raw: RawModel, conversation: Conversation, name: str, body: object, words: str
) -> None:
    raw.bodies = [body if isinstance(body, bytes) else json.dumps(body).encode()]
    with pytest.raises(RetryLater, match=f"its answer cannot be read: .*{words}"):
        await build(model=name, base_url=raw.base_url).reply(conversation.context("hello"))
    assert conversation.outcomes == ["unreadable"]


ERRORS: Final = [
    ("openai", {"error": {"message": "It sleeps.", "code": 502}}, RetryLater, "HTTP 502: It sleeps"),
    ("openai", {"error": "it fell over"}, RetryLater, "HTTP 500: it fell over"),
    ("openai", {"error": {"message": "No.", "code": "invalid_api_key"}}, RetryLater, "401: the API key is refused"),
    ("openai", {"choices": [{"error": {"message": "Odd."}, "message": {"content": ""}}]}, RetryLater, "HTTP 500: Odd"),
    ("openai", sse(chunk({}), {"error": {"message": "Busy", "code": 429}}), RetryLater, "HTTP 429: Busy"),
    ("openai", {"error": {"message": "bad 'top_p'", "code": "400"}}, Unrecoverable, "HTTP 400: .*bad 'top_p'"),
    ("anthropic", {"error": {"type": "overloaded_error", "message": "Overloaded"}}, RetryLater, "HTTP 529: Over"),
    ("anthropic", sse({"type": "error", "error": {"message": "Oops"}}), RetryLater, "HTTP 500: Oops"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "body", "kind", "words"),
    [pytest.param(name, *rest, id=f"{name}-{rest[2]}") for dialect, *rest in ERRORS for name in NAMES[dialect]],
)
async def test_an_error_in_a_200_is_the_error_that_it_says(
    build: Build, raw: RawModel, conversation: Conversation, name: str, body: object, kind: type[Exception], words: str
) -> None:
    raw.bodies = [body if isinstance(body, bytes) else json.dumps(body).encode()]
    with pytest.raises(kind, match=words):
        await build(model=name, base_url=raw.base_url).reply(conversation.context("hello"))
    assert raw.asked == 1


def block_delta(partial_json: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"partial_json": partial_json}}


STOCK: Final = {"function": {"name": "stock", "arguments": {"item": "oars"}}}
CALLS: Final = {
    ("openai", "no ids"): json.dumps({"choices": [{"message": {"tool_calls": [STOCK]}}]}).encode(),
    ("openai", "stream"): sse(
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "stock", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"item": '}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"oars"}'}}]}, "tool_calls"),
    ),
    ("anthropic", "no ids"): json.dumps({"content": [{"name": "stock", "input": {"item": "oars"}}]}).encode(),
    ("anthropic", "stream"): sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "stock"}},
        block_delta('{"item"'),
        block_delta(': "oars"}'),
        {"type": "message_stop"},
    ),
}


TOO_LARGE: Final = [
    "Trying to keep the first 4310 tokens when context the overflows. However, the model is loaded with context length "
    "of only 4096 tokens, which is not enough.",
    "Request too large for m on tokens per min (TPM): Limit 6000, Requested 9000.",
    "the request exceeds the available context size, try increasing it",
    "input length and `max_tokens` exceed context limit: 9000 + 800 > 8192",
]


@pytest.mark.parametrize(
    "words",
    [
        *TOO_LARGE,
        "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
        "Input is too long for requested model.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 + 500",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ],
)
def test_each_servers_words_for_what_is_too_large_are_known(words: str) -> None:
    assert request_failure(ModelHTTPError(400, "m", {"error": {"message": words}})).overflow


@pytest.mark.parametrize("words", ["max_tokens is too large: 9000", "The name is too long", "Invalid prompt"])
def test_what_is_wrong_with_the_request_itself_is_not_shown_less(words: str) -> None:
    assert not request_failure(ModelHTTPError(400, "m", {"error": {"message": words}})).overflow


@pytest.mark.parametrize("words", TOO_LARGE)
@pytest.mark.parametrize("code", [400, 429])
@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names])
async def test_what_is_too_large_is_asked_again_with_less(
    build: Build, raw: RawModel, conversation: Conversation, name: str, code: int, words: str
) -> None:
    answer = ANTHROPIC if name in NAMES["anthropic"] else OPENAI
    raw.bodies = [json.dumps({"error": {"message": words, "code": code}}).encode(), json.dumps(answer).encode()]
    responder = build(model=name, base_url=raw.base_url)
    assert (await responder.reply(conversation.context("hi", (Author.AI, "Hello!"), "open?"))).text == "We open at 9."
    assert raw.asked == 2


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for names in NAMES.values() for name in names for form in ("no ids", "stream")]
)
async def test_a_tool_is_called_by_an_answer_that_lacks_what_nobody_needs(
    build: Build, raw: RawModel, conversation: Conversation, tmp_path: Any, name: str, form: str
) -> None:
    module = f"wired_{re.sub('[^a-z]', '_', name + form)}"
    code = "from pydantic_ai import Agent\nasked = []\nagent = Agent()\n\n"
    code += "@agent.tool_plain\ndef stock(item: str) -> str:\n    asked.append(item)\n    return '3 left'\n"
    (tmp_path / f"{module}.py").write_text(code)
    dialect = "anthropic" if name in NAMES["anthropic"] else "openai"
    raw.bodies = [CALLS[dialect, form], json.dumps(ANTHROPIC if dialect == "anthropic" else OPENAI).encode()]
    responder = build([PersonaSettings(name="shop", agent=f"{module}:agent")], model=name, base_url=raw.base_url)
    assert (await responder.reply(conversation.context("oars?", persona="shop"))).text == "We open at 9."
    assert sys.modules[module].asked == ["oars"]


CALL: Final = {"id": "a", "type": "function"} | STOCK
WORDS_AND_CALL: Final = {
    "openai": changed(OPENAI, {"content": "We open at 9.", "tool_calls": [CALL]}, *MESSAGE),
    "anthropic": ANTHROPIC
    | {"content": [*ANTHROPIC["content"], {"type": "tool_use", "id": "a", "name": "stock", "input": {}}]},
}


@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names])
async def test_words_beside_a_call_of_a_tool_that_was_not_given_are_the_answer(
    build: Build, raw: RawModel, conversation: Conversation, name: str
) -> None:
    raw.bodies = [json.dumps(WORDS_AND_CALL["anthropic" if name in NAMES["anthropic"] else "openai"]).encode()]
    context = conversation.context("oars?")
    assert (await build(model=name, base_url=raw.base_url).reply(context)).text == "We open at 9."
    assert not context.acted.is_set(), "a newer message is answered with this one"


FIELDS: Final = (
    "choices message content text type error code usage delta tool_calls function name index stop_reason"
    " content_block message_start content_block_delta message_delta message_stop"
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-600, 600) | st.sampled_from(FIELDS.split()) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("path", DIALECTS)
@given(st.lists(JSON, min_size=1, max_size=3), st.booleans())
def test_any_json_is_read_or_refused(path: str, values: list[Any], streamed: bool) -> None:
    with suppress(Unreadable):
        status, answer = repair(DIALECTS[path], sse(*values) if streamed else json.dumps(values[0]).encode())
        assert status == 200 or answer["error"]
