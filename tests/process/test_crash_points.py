"""A real worker is killed at every step of a turn; the person gets one answer all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import crashing_worker
from tests.process.harness import Site

pytestmark = [pytest.mark.process, pytest.mark.long]

PROGRAM = (str(Path(crashing_worker.__file__)),)


@pytest.mark.parametrize("step", list(crashing_worker.STEPS))
async def test_a_worker_killed_at_this_step_leaves_exactly_one_answer(site: Site, step: str) -> None:
    await site.serve()
    for number in range(12):  # the demo's rules say back what they read: in two parts
        assert (await site.say(f"{number}: are you open on Sunday? " * 6)).status == 200
    doomed = await site.start(step, "work", program=PROGRAM)
    assert await doomed.ended() == -9

    await site.start("work")
    await site.until_quiet()

    assert site.rows("SELECT DISTINCT outcome FROM messages WHERE direction = 'in'") == [("answered",)]
    sent = [("sent", message.sid) for message in site.twilio.messages]
    assert site.rows("SELECT state, provider_id FROM outbox ORDER BY id") == sent, site.logs()
    assert len(sent) == 2


@pytest.mark.parametrize("step", ["committed", "accepted"])
async def test_the_text_that_was_committed_before_the_kill_is_the_text_that_is_sent(site: Site, step: str) -> None:
    await site.serve()
    doomed = await site.start(step, "work", program=PROGRAM)
    await site.say("hello")
    await doomed.ended()
    [(committed,)] = site.rows("SELECT text FROM drafts")

    await site.start("work")
    await site.until_quiet()

    assert [message.body for message in site.twilio.messages] == [committed]
    assert site.rows("SELECT count(*) FROM drafts") == [(1,)]
