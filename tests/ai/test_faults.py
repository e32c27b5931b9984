"""Faults that one dialect is enough to show: certificates, names, records, logs."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from convoq.ai.base import AccountRefused, ModelCall
from convoq.errors import RetryLater
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from tests.ai.conftest import Build, Conversation


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    """What a server with a self-signed certificate needs."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_an_untrusted_certificate_waits_for_somebody_to_mend_it(
    build: Build, conversation: Conversation, untrusted: ssl.SSLContext
) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=untrusted).start()
    try:
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/v1"
        with pytest.raises(AccountRefused, match=r"its TLS certificate cannot be verified \(.*self-signed certificate"):
            await build(model="qwen", base_url=url).reply(conversation.context("hello"))
    finally:
        await runner.cleanup()


async def test_an_unknown_host_is_tried_again_later(build: Build, conversation: Conversation) -> None:
    responder = build(model="qwen", base_url="http://nobody.invalid/v1")
    with pytest.raises(RetryLater, match="model qwen: cannot be reached"):
        await responder.reply(conversation.context("hello"))


async def test_logs_hold_no_message_and_no_key(build: Build, model: LoopbackModel, conversation: Conversation) -> None:
    model.mode = ModelFault.UNAUTHORIZED
    responder = build(model="openai:gpt-test", base_url=model.base_url, api_key="sk-secret")
    with capture_logs() as logs, pytest.raises(AccountRefused):
        await responder.reply(conversation.context("my private words"))
    assert [entry["event"] for entry in logs] == ["model_call.failed"]
    assert "private" not in str(logs)
    assert "sk-" not in str(logs)


async def test_close_waits_until_a_cancelled_call_is_recorded(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    recording, stored = asyncio.Event(), list[ModelCall]()

    async def record(call: ModelCall) -> None:
        recording.set()
        for _ in range(20):
            await asyncio.sleep(0)  # turns of the loop, as a write takes
        stored.append(call)

    responder = build(model="qwen", base_url=model.base_url)
    await responder.warm()
    model.mode = ModelFault.HANG
    task = asyncio.create_task(responder.reply(conversation.context("hello", record=record)))
    await model.wait_for_requests(1)
    task.cancel()
    await recording.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await responder.close()
    assert [call.outcome for call in stored] == ["cancelled"]


async def test_many_replies_at_once_load_the_library_once(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    responder = build(model="qwen", base_url=model.base_url)
    await asyncio.gather(*(responder.reply(conversation.context("hello")) for _ in range(3)), responder.warm())
    assert len(conversation.calls) == 3


async def test_the_fallback_of_another_dialect_answers(
    build: Build, model: LoopbackModel, other: LoopbackModel, conversation: Conversation
) -> None:
    model.mode = ModelFault.OVERLOADED
    responder = build(
        model="openai:gpt-test",
        base_url=model.base_url,
        fallback_model="anthropic:claude-test",
        fallback_base_url=other.base_url,
    )
    assert (await responder.reply(conversation.context("hello"))).model == "anthropic:claude-test"
    assert other.requests[0].dialect == "anthropic"
