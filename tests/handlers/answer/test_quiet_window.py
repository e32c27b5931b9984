"""The quiet window: an answer waits until the person has paused, but not for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.settings import ConversationSettings
from tests.clock import ManualClock
from tests.handlers.house import House, open_house


@pytest.fixture
async def patient(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    """A house that waits 2.5 s for more, 6 s at most."""
    async with open_house(database, clock, timing=ConversationSettings(quiet_window=2.5, max_wait=6)) as house:
        yield house


async def test_nothing_is_asked_before_the_person_has_paused(patient: House) -> None:
    await patient.hear("hi")
    await patient.step()
    assert (patient.responder.asked, await patient.due_in()) == ([], 2.5)


async def test_the_answer_comes_once_the_window_is_over(patient: House) -> None:
    await patient.hear("hi")
    await patient.step()
    patient.clock.advance(2.5)
    await patient.step()
    assert patient.sent == ["re: hi"]


async def test_each_message_begins_the_window_anew(patient: House) -> None:
    await patient.hear("hi")
    await patient.step()
    patient.clock.advance(2)
    await patient.hear("there")
    patient.clock.advance(0.5)
    await patient.step()
    assert (patient.sent, await patient.due_in()) == ([], 2.0)
    patient.clock.advance(2)
    await patient.step()
    assert patient.sent == ["re: hi + there"]


async def test_who_keeps_typing_is_answered_after_the_longest_wait(patient: House) -> None:
    begun = patient.clock.now()
    typed = 0
    while not patient.sent:
        await patient.hear(str(typed))
        typed += 1
        await patient.step()
        patient.clock.advance(1)
    assert patient.clock.now() - begun == 7_000
    assert patient.sent == ["re: 0 + 1 + 2 + 3 + 4 + 5 + 6"]


async def test_waiting_for_quiet_costs_no_attempt(patient: House) -> None:
    await patient.hear("hi")
    for _ in range(5):
        await patient.step()
        patient.clock.advance(0.5)
    assert (await patient.turn_job()).attempt == 0


async def test_a_message_that_waited_long_enough_in_the_queue_waits_no_more(patient: House) -> None:
    await patient.hear("hi")
    patient.clock.advance(60)
    await patient.step()
    assert patient.sent == ["re: hi"]
