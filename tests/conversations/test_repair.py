"""Who waits though no job comes has a turn within two minutes and one run of the repair."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from convoq.errors import Snooze
from convoq.jobs import turn_key
from convoq.loopback.faults import too_many
from tests.handlers.house import ANA, BEN, OURS, House
from tests.turn.timeline import lose_jobs

OVERDUE = 121  # seconds


async def lose(house: House) -> None:
    """The queue loses every turn that no worker has."""
    for (lane,) in await house.rows("SELECT lane FROM threads"):
        await house.database.write(lose_jobs, lane)


async def test_a_message_whose_turn_the_queue_has_lost_is_answered(house: House) -> None:
    await house.hear_at_once("hello")
    await lose(house)
    house.clock.advance(OVERDUE)
    await house.upkeep("wake_threads")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_part_whose_turn_the_queue_has_lost_is_sent(house: House) -> None:
    house.twilio.fail_next(too_many("1"))
    await house.hear("hello")
    await house.step()
    await lose(house)
    house.clock.advance(OVERDUE)
    await house.upkeep("wake_threads")
    await house.settle()
    assert house.sent == ["re: hello"]


@pytest.mark.parametrize("late", [False, True])
async def test_what_a_turn_said_to_wait_for_is_overdue_two_minutes_after_it(house: House, late: bool) -> None:
    house.responder.script = [Snooze(600, "busy")]
    await house.hear("hello")
    await house.step()
    await lose(house)
    house.clock.advance(600 + (OVERDUE if late else 0))
    await house.upkeep("wake_threads")
    assert len(await house.engine.busy([lane for (lane,) in await house.rows("SELECT lane FROM threads")])) == late


async def test_only_threads_without_a_job_are_said_to_have_been_woken(house: House) -> None:
    house.twilio.fault = too_many("600")
    for person in (ANA, BEN):
        await house.hear("hello", sender=person)
    await house.step()
    await house.database.write(lose_jobs, turn_key("twilio", OURS, BEN))
    house.clock.advance(OVERDUE)
    with capture_logs() as logs:
        for _ in range(2):
            await house.upkeep("wake_threads")
    assert [entry["count"] for entry in logs if entry["event"] == "threads.woken"] == [1]


async def test_a_repair_wakes_each_thread_once(house: House) -> None:
    for person in (ANA, BEN):
        await house.hear_at_once("hello", sender=person)
    await lose(house)
    house.clock.advance(OVERDUE)
    for _ in range(2):
        await house.upkeep("wake_threads")
    await house.settle()
    assert sorted(house.sent) == ["re: hello", "re: hello"]
    assert await house.due_in() is None
