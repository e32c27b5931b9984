"""What the fire has found, each as small as it gets."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from convoq.db.connection import BUSY_TIMEOUT_MS
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from tests.fire import stopping_worker
from tests.process import crashing_worker
from tests.process.harness import Process, Site, open_site

pytestmark = [pytest.mark.process, pytest.mark.long]

PROGRAM = (str(Path(stopping_worker.__file__)),)


@pytest.mark.parametrize("step", list(stopping_worker.STEPS))
async def test_a_worker_that_wakes_after_another_took_its_turn_over_sends_nothing(tmp_path: Path, step: str) -> None:
    # Its lease is over after a second, and what it had begun is looked up at Twilio 0.2 seconds later.
    async with open_site(tmp_path, CONVOQ_QUEUE__VISIBILITY_TIMEOUT="1") as site:
        await site.serve()
        sleeper = await site.start(step, "work", program=PROGRAM)
        assert (await site.say("are you open on Sunday?")).status == 200
        await site.until(lambda: is_stopped(sleeper), "the worker has stopped itself")

        await site.start("work")
        await site.until_quiet()
        assert len(site.twilio.messages) == 1

        sleeper.resume()
        sleeper.terminate()  # which lets it end what it was at
        assert await sleeper.ended() == 0
        assert len(site.twilio.messages) == 1, site.logs()
        assert site.rows("SELECT state, provider_id FROM outbox") == [("sent", site.twilio.messages[0].sid)]


async def test_messages_whose_first_turns_died_are_answered_once_each(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        await site.serve()
        for text in ("the first question", "the second question"):
            await site.say(text)
        for _ in range(2):
            doomed = await site.start("begun", "work", program=(crashing_worker.__file__,))
            assert await doomed.ended() == -signal.SIGKILL

        await site.start("work")
        await site.until_quiet()

        replies = [message.body for message in site.twilio.messages]
        assert sum("first question" in reply for reply in replies) == 1, replies
        assert sum("second question" in reply for reply in replies) == 1, replies


async def test_messages_whose_turns_died_around_the_models_answer_are_answered_once_each(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        await site.serve()
        for text in ("the first question", "the second question"):
            await site.say(text)
        for step in ("begun", "model_answered"):
            doomed = await site.start(step, "work", program=(crashing_worker.__file__,))
            assert await doomed.ended() == -signal.SIGKILL

        await site.start("work")
        await site.until_quiet()

        replies = [message.body for message in site.twilio.messages]
        assert sum("first question" in reply for reply in replies) == 1, replies
        assert sum("second question" in reply for reply in replies) == 1, replies


async def test_a_message_back_from_the_dead_letters_is_answered_though_its_conversation_is_over(tmp_path: Path) -> None:
    settings = {"CONVOQ_CONVERSATION__IDLE_AFTER": "0.2", "CONVOQ_CONVERSATION__EXPIRE_AFTER": "0.3"}
    async with LoopbackModel() as model, open_site(tmp_path, **settings, **asking(model)) as site:
        model.fail(ModelFault.REJECTED)
        await site.serve()
        worker = await site.start("work")
        await site.say("the first question")
        await site.until(lambda: bool(site.rows("SELECT 1 FROM jobs WHERE state = 'dead'")), "it is buried")
        await site.until(lambda: closes(site), "its conversation is over")
        worker.kill()
        await worker.ended()

        await site.say("the second question")
        retry = await site.start("jobs", "retry", "--all", "--yes")
        assert await retry.ended() == 0
        await site.start("work")
        await site.until_quiet()

        said = " ".join(message.body for message in site.twilio.messages)
        assert said.count("first question") == said.count("second question") == 1


def asking(model: LoopbackModel) -> dict[str, str]:
    return {"CONVOQ_AI__MODEL": "loopback", "CONVOQ_AI__BASE_URL": model.base_url}


def closes(site: Site) -> bool:
    """Whether upkeep has closed every conversation; asks for the upkeep."""
    with closing(sqlite3.connect(site.database, timeout=10, isolation_level=None)) as connection:
        if not connection.execute("SELECT 1 FROM conversations WHERE status <> 'closed'").fetchone():
            return True
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR IGNORE INTO lanes (lane, priority, due_at) VALUES ('upkeep', 3, 0)")
        connection.execute(
            """INSERT INTO jobs (lane_id, lane, kind, payload, priority, max_attempts, enqueued_at)
               VALUES ((SELECT id FROM lanes WHERE lane = 'upkeep'), 'upkeep', 'process_expired', '{}', 3, 8, 0)"""
        )
        connection.execute("COMMIT")
    return False


async def test_an_answer_that_a_foreign_lock_held_up_is_kept_and_paid_once(tmp_path: Path) -> None:
    async with LoopbackModel(delay=1.0) as model, open_site(tmp_path, **asking(model)) as site:
        await site.serve()
        await site.start("work")
        model.fail(ModelFault.SLOW)
        await site.say("hello")
        await model.wait_for_requests(1)
        with closing(sqlite3.connect(site.database, isolation_level=None, timeout=10)) as foreigner:
            foreigner.execute("BEGIN EXCLUSIVE")
            # The commit gives up after its own patience, and is tried again with the answer that is there.
            await asyncio.sleep(model.delay + BUSY_TIMEOUT_MS / 1000 + 1)
            foreigner.execute("ROLLBACK")

        await site.until_quiet()
        assert (len(site.twilio.messages), len(model.requests)) == (1, 1)
        assert site.rows("SELECT tries, failures FROM messages WHERE direction = 'in'") == [(1, 0)]


def is_stopped(process: Process) -> bool:
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"
