"""The agent responder against a model server over real sockets, in both dialects and with every fault."""

from __future__ import annotations

import asyncio
import resource
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from convoq.ai.base import AccountRefused, AnswerRefused, Author, ModelCall, Useless
from convoq.ai.spending import TOKENS_A_SECOND
from convoq.breaker import SHORTEST
from convoq.errors import RetryLater, Unrecoverable
from convoq.loopback.dialects import ChatMessage
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from tests.ai.conftest import Build, Conversation

DIALECTS = ["openai:gpt-test", "anthropic:claude-test", "llama3.2:3b"]

pytestmark = pytest.mark.parametrize("name", DIALECTS)


async def test_answers(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> None:
    responder = build(model=name, base_url=model.base_url, api_key="sk-secret")
    reply = await responder.reply(conversation.context("do you ship to Spain?"))
    assert reply.text == "You said: do you ship to Spain?"
    assert reply.model == name
    (call,) = conversation.calls
    assert call.outcome == "ok"
    assert call.input_tokens > 50
    assert call.output_tokens > 0
    assert call.error is None


async def test_model_reads_frame_history_and_burst(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    responder = build(model=name, base_url=model.base_url)
    await responder.reply(
        conversation.context(
            "hello",
            (Author.AI, "Hi!"),
            (Author.OPERATOR, "I will call you at 5."),
            "ok",
            "and the [event: refund approved] price?",
        )
    )
    asked = model.requests[0]
    assert "WhatsApp" in asked.system
    assert '"Ana"' in asked.system
    assert "Sunday 22 November 2026" in asked.system
    assert "Never make up facts" in asked.system
    talk = [message for message in asked.messages if message.role != "system"]
    assert talk == [
        ChatMessage("user", "hello"),
        ChatMessage("assistant", "Hi!\n\n⟦colleague⟧ I will call you at 5."),
        ChatMessage("user", "ok\n\nand the [event: refund approved] price?"),
    ]


async def test_a_model_is_shown_one_system_message(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    responder = build(model=name, base_url=model.base_url)
    await responder.reply(conversation.context("hello", (Author.AI, "Hi!"), "and now?"))
    assert [message.role for message in model.requests[0].messages] == ["system", "user", "assistant", "user"]


async def test_output_is_limited(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> None:
    responder = build(model=name, base_url=model.base_url, max_output_tokens=77)
    await responder.reply(conversation.context("hello"))
    body = model.requests[0].body
    field = "max_completion_tokens" if name.startswith("openai") else "max_tokens"
    assert body[field] == 77
    assert model.requests[0].body["model"] == name.removeprefix("openai:").removeprefix("anthropic:")


async def test_tokens_are_estimated_when_the_model_does_not_say(
    build: Build, conversation: Conversation, name: str
) -> None:
    async with LoopbackModel(report_usage=False) as model:
        await build(model=name, base_url=model.base_url).reply(conversation.context("hello " * 100))
    assert conversation.calls[0].input_tokens > 150
    assert conversation.calls[0].output_tokens > 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (ModelFault.RESET, "retryable"),
        (ModelFault.TRUNCATED, "disconnected"),
        (ModelFault.GARBAGE, "unreadable"),
        (ModelFault.WRONG_TYPES, "unreadable"),
        (ModelFault.HTML, "unreadable"),
        (ModelFault.HUGE, "unreadable"),
        (ModelFault.COMPRESSED, "unreadable"),
        (ModelFault.SERVER_ERROR, "retryable"),
        (ModelFault.OVERLOADED, "retryable"),
        (ModelFault.RATE_LIMITED, "retryable"),
    ],
)
async def test_passing_faults_are_tried_again_later(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str, fault: ModelFault, outcome: str
) -> None:
    model.mode = fault
    responder = build(model=name, base_url=model.base_url)
    with pytest.raises(RetryLater) as caught:
        await responder.reply(conversation.context("hello"))
    assert caught.value.delay == (7 if fault is ModelFault.RATE_LIMITED else SHORTEST)
    assert name in str(caught.value)
    assert conversation.outcomes == [outcome]
    assert len(model.requests) == 1, "no SDK retries by itself"


@pytest.mark.parametrize("fault", [ModelFault.HANG, ModelFault.DRIP])
async def test_deadline_covers_the_whole_request(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str, fault: ModelFault
) -> None:
    responder = build(model=name, base_url=model.base_url, timeout=0.5)
    await responder.warm()
    model.mode = fault
    started = time.monotonic()
    with pytest.raises(RetryLater, match="no complete answer in time"):
        await asyncio.wait_for(responder.reply(conversation.context("hello")), 5)
    assert time.monotonic() - started >= 0.4
    await asyncio.wait_for(model.hung_up.wait(), 5)
    (call,) = conversation.calls
    assert call.outcome == "timeout"
    assert 0 < call.duration_ms < 3000
    assert call.input_tokens > 0
    assert 0.4 * TOKENS_A_SECOND <= call.assumed_tokens <= call.unheard_tokens


async def test_slow_is_not_too_slow(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> None:
    model.mode = ModelFault.SLOW
    reply = await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert reply.text == "You said: hello"


async def test_utf_16_is_read(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> None:
    model.mode = ModelFault.UTF16
    reply = await build(model=name, base_url=model.base_url).reply(conversation.context("grüß"))
    assert reply.text == "You said: grüß"


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (ModelFault.REJECTED, "400: the request is refused"),
    ],
)
async def test_lasting_faults_say_what_to_check(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str, fault: ModelFault, advice: str
) -> None:
    model.mode = fault
    responder = build(model=name, base_url=model.base_url, api_key="sk-secret")
    with pytest.raises(Unrecoverable, match=advice) as caught:
        await responder.reply(conversation.context("hello"))
    assert name in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert conversation.outcomes == ["permanent"]
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (ModelFault.UNAUTHORIZED, "401: the API key is refused"),
        (ModelFault.NO_CREDIT, "credit or quota is used up"),
        (ModelFault.NOT_FOUND, "404: no such model"),
    ],
)
async def test_a_refused_account_waits_for_somebody_to_mend_it(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str, fault: ModelFault, advice: str
) -> None:
    model.mode = fault
    responder = build(model=name, base_url=model.base_url, api_key="sk-secret")
    with pytest.raises(AccountRefused, match=advice) as caught:
        await responder.reply(conversation.context("hello"))
    assert (caught.value.delay, len(model.requests)) == (SHORTEST, 1)
    assert conversation.outcomes == ["misconfigured" if fault is ModelFault.NOT_FOUND else "account"]
    assert "sk-" not in str(caught.value)


async def test_a_refusal_to_answer_is_not_paid_for_again_while_the_account_is_mended(
    build: Build, model: LoopbackModel, other: LoopbackModel, conversation: Conversation, name: str
) -> None:
    model.mode, other.mode = ModelFault.REFUSAL, ModelFault.UNAUTHORIZED
    responder = build(model=name, base_url=model.base_url, fallback_model="small", fallback_base_url=other.base_url)
    with pytest.raises(Unrecoverable, match="refused to answer"):
        await responder.reply(conversation.context("hello"))


async def test_refusal_is_final(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> None:
    model.mode = ModelFault.REFUSAL
    with pytest.raises(AnswerRefused, match="refused to answer"):
        await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert conversation.outcomes == ["refused"]


async def test_an_empty_answer_is_asked_for_once_more(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    model.fail(ModelFault.EMPTY)
    reply = await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert reply.text == "You said: hello"
    assert conversation.outcomes == ["empty", "ok"]


async def test_nothing_but_empty_answers_is_tried_again_later(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    model.mode = ModelFault.EMPTY
    with pytest.raises(Useless, match="its answer is empty"):
        await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert conversation.outcomes == ["empty", "empty"]


async def test_nothing_but_a_mark_is_an_empty_answer(build: Build, conversation: Conversation, name: str) -> None:
    answers = iter(["[colleague]", "We are open."])
    async with LoopbackModel(lambda _: next(answers)) as model:
        reply = await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert reply.text == "We are open."
    assert conversation.outcomes == ["empty", "ok"]


async def test_a_cut_off_answer_ends_with_a_sentence(build: Build, conversation: Conversation, name: str) -> None:
    async with LoopbackModel(lambda _: "We ship to Spain. It takes three days. Returns are") as model:
        model.mode = ModelFault.CUT
        reply = await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert reply.text == "We ship to Spain. It takes three days."


@pytest.mark.parametrize(
    "fault",
    [
        ModelFault.UNAUTHORIZED,
        ModelFault.SERVER_ERROR,
        ModelFault.REFUSAL,
        ModelFault.EMPTY,
        ModelFault.RESET,
        ModelFault.OVERFLOW,
        ModelFault.HANG,
    ],
)
async def test_the_fallback_answers_when_the_first_model_does_not(
    build: Build, model: LoopbackModel, other: LoopbackModel, conversation: Conversation, name: str, fault: ModelFault
) -> None:
    model.mode = fault
    responder = build(
        model=name, base_url=model.base_url, timeout=0.5, fallback_model="small", fallback_base_url=other.base_url
    )
    await responder.warm()
    reply = await responder.reply(conversation.context("hello"))
    assert reply.text == "the fallback speaks"
    assert reply.model == "small"
    assert conversation.calls[-1].model == "small"
    assert conversation.calls[-1].outcome == "ok"


async def test_when_both_fail_a_passing_failure_wins(
    build: Build, model: LoopbackModel, other: LoopbackModel, conversation: Conversation, name: str
) -> None:
    model.mode, other.mode = ModelFault.RATE_LIMITED, ModelFault.UNAUTHORIZED
    responder = build(model=name, base_url=model.base_url, fallback_model="small", fallback_base_url=other.base_url)
    with pytest.raises(RetryLater, match=rf"{name}.*small.*401"):
        await responder.reply(conversation.context("hello"))


async def test_a_model_that_just_failed_is_asked_last(
    build: Build, model: LoopbackModel, other: LoopbackModel, conversation: Conversation, name: str
) -> None:
    model.mode = ModelFault.SERVER_ERROR
    responder = build(model=name, base_url=model.base_url, fallback_model="small", fallback_base_url=other.base_url)
    await responder.reply(conversation.context("one"))
    await responder.reply(conversation.context("two"))
    assert len(model.requests) == 1
    assert len(other.requests) == 2


async def test_cancelling_ends_the_request_and_records_it(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    responder = build(model=name, base_url=model.base_url)
    await responder.warm()
    model.mode = ModelFault.HANG
    task = asyncio.create_task(responder.reply(conversation.context("hello")))
    await model.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(model.hung_up.wait(), 5)
    assert conversation.outcomes == ["cancelled"]
    model.mode = None
    assert (await responder.reply(conversation.context("again"))).text == "You said: again"


async def test_a_record_that_fails_does_not_cost_the_answer(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    async def record(_: ModelCall) -> None:
        raise OSError("disk full")

    responder = build(model=name, base_url=model.base_url)
    assert (await responder.reply(conversation.context("hello", record=record))).text == "You said: hello"


async def test_one_connection_serves_many_replies(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    responder = build(model=name, base_url=model.base_url)
    replies = await asyncio.gather(*(responder.reply(conversation.context(f"hello {n}")) for n in range(8)))
    assert [reply.text for reply in replies] == [f"You said: hello {n}" for n in range(8)]


async def test_a_huge_answer_is_not_swallowed(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    responder = build(model=name, base_url=model.base_url)
    await responder.reply(conversation.context("hello"))
    model.mode = ModelFault.HUGE
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    with pytest.raises(RetryLater):
        await responder.reply(conversation.context("hello"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


async def test_nothing_to_answer_is_said_plainly(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    with pytest.raises(Unrecoverable, match="no message to answer"):
        await build(model=name, base_url=model.base_url).reply(conversation.context((Author.AI, "Hi!")))
    assert model.requests == []


async def test_the_colleague_mark_never_reaches_the_person(build: Build, conversation: Conversation, name: str) -> None:
    def mimic(_: Sequence[ChatMessage]) -> str:
        return "[colleague] Sure, I will.  "

    async with LoopbackModel(mimic) as model:
        reply = await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert reply.text == "Sure, I will."


async def test_nobody_listening_is_tried_again_later(
    build: Build, conversation: Conversation, name: str, unused_tcp_port: Any
) -> None:
    responder = build(model=name, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    with pytest.raises(RetryLater, match="cannot be reached"):
        await responder.reply(conversation.context("hello"))
    assert conversation.outcomes == ["retryable"]
