"""A real worker is killed at every step of a turn; the person gets one answer all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import crashing_worker
from tests.process.harness import Site

pytestmark = pytest.mark.process

PROGRAM = (str(Path(crashing_worker.__file__)),)


@pytest.mark.parametrize("step", list(crashing_worker.STEPS))
async def test_a_worker_killed_at_this_step_leaves_exactly_one_answer(site: Site, step: str) -> None:
    await site.serve()
    doomed = await site.start(step, "work", program=PROGRAM)
    assert (await site.say("are you open on Sunday?")).status == 200
    assert await doomed.ended() == -9

    await site.start("work")
    await site.until_quiet()

    assert len(site.twilio.messages) == 1, site.logs()
    [(outcome,)] = site.rows("SELECT outcome FROM messages WHERE direction = 'in'")
    assert outcome == "answered"
    [(state, provider_id)] = site.rows("SELECT state, provider_id FROM outbox")
    assert (state, provider_id) == ("sent", site.twilio.messages[0].sid)


@pytest.mark.parametrize("step", ["drafted", "committed", "sending", "accepted"])
async def test_the_text_that_was_drafted_before_the_kill_is_the_text_that_is_sent(site: Site, step: str) -> None:
    await site.serve()
    doomed = await site.start(step, "work", program=PROGRAM)
    await site.say("hello")
    await doomed.ended()
    [(drafted,)] = site.rows("SELECT text FROM drafts")

    await site.start("work")
    await site.until_quiet()

    assert [message.body for message in site.twilio.messages] == [drafted]
    assert site.rows("SELECT count(*) FROM drafts") == [(1,)]
