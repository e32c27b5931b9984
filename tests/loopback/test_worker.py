"""The worker whose model has faults is `convoq work` in everything else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from convoq.ai.base import ReplyContext
from convoq.ai.offline import OfflineResponder
from convoq.errors import RetryLater
from convoq.loopback.environment import Account, environment, without_settings
from convoq.loopback.process import RoleProcess, convoq, faulty_worker
from convoq.loopback.switches import Switches
from convoq.loopback.twilio import LoopbackTwilio
from convoq.loopback.worker import FaultyResponder
from tests.ai.conftest import Conversation

NOWHERE = "http://127.0.0.1:9/"
CONTEXT = Conversation().context("are you open?")


async def ended(directory: Path, command: tuple[str, ...], **settings: str) -> tuple[int, list[str]]:
    """The exit code and the lines of a worker that has all it needs, but for these settings."""
    healthy = Account().settings(NOWHERE) | {"ai.model": "offline", "database.path": str(directory / "convoq.db")}
    process = RoleProcess(
        "work", environment(without_settings(os.environ), healthy | settings),
        command=command, directory=directory, log=directory / f"{command[2]}.log",
    )  # fmt: skip
    await process.spawn()
    return await process.wait(), process.output.splitlines()


@pytest.mark.process
@pytest.mark.parametrize("settings", [{"ai.model": "no-such:model"}, {"work.concurrency": "none", "ai.modle": "x"}])
async def test_bad_settings_end_it_in_the_words_of_convoq_work(tmp_path: Path, settings: dict[str, str]) -> None:
    code, lines = await ended(tmp_path, faulty_worker(NOWHERE), **settings)
    assert (code, lines) == await ended(tmp_path, convoq("work"), **settings)
    assert code == 78
    assert all(line.startswith("convoq: ") for line in lines)
    assert len(lines) == len(settings)


@asynccontextmanager
async def faulty(url: str) -> AsyncIterator[FaultyResponder]:
    responder = FaultyResponder(OfflineResponder(), url)
    yield responder
    await responder.close()


async def answer(context: ReplyContext = CONTEXT) -> str:
    return (await OfflineResponder().reply(context)).text


async def test_a_model_that_is_down_is_asked_again_soon() -> None:
    async with Switches(LoopbackTwilio()) as switches, faulty(switches.url) as responder:
        switches.model.down = True
        with pytest.raises(RetryLater, match="the model is down"):
            await responder.reply(CONTEXT)
        switches.model.down = False
        assert (await responder.reply(CONTEXT)).text == await answer()
        assert switches.asked == 2


async def test_a_slow_model_answers_late() -> None:
    async with Switches(LoopbackTwilio()) as switches, faulty(switches.url) as responder:
        switches.model.slow = 0.1
        began = monotonic()
        assert (await responder.reply(CONTEXT)).text == await answer()
        assert monotonic() - began >= 0.1


async def test_without_switches_the_model_behaves() -> None:
    async with faulty(NOWHERE) as responder:
        assert (await responder.reply(CONTEXT)).text == await answer()
