"""What fails for everybody is asked by one at a time, and what fails for one is not asked at the pace of the others."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from convoq.handlers.outbox import UNANSWERED as UNANSWERED_IN_A_ROW
from convoq.loopback.dialects import ChatMessage
from convoq.loopback.faults import ModelFault, TwilioFault, error, hang, refused, reset, too_many
from convoq.loopback.model import LoopbackModel
from convoq.queue.base import JobFilter
from tests.handlers.house import House

pytestmark = pytest.mark.long

PEOPLE = [f"whatsapp:+1555200000{number}" for number in range(8)]
HALF_AN_HOUR = 1800.0


async def everybody_writes(house: House) -> None:
    for person in PEOPLE:
        await house.hear("hello", sender=person)
    await house.step()


@pytest.mark.parametrize("fault", [ModelFault.UNAUTHORIZED, ModelFault.NO_CREDIT, ModelFault.SERVER_ERROR])
async def test_a_model_that_fails_is_asked_by_one_for_all(
    house: House, model: LoopbackModel, fault: ModelFault
) -> None:
    model.mode = fault
    await everybody_writes(house)
    await house.live(HALF_AN_HOUR)
    assert 5 < len(model.requests) < 30
    model.mode = None
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)


async def test_who_is_kept_from_asking_by_the_useless_answers_of_others_loses_no_try(
    house: House, model: LoopbackModel
) -> None:
    model.mode = ModelFault.GARBAGE
    await everybody_writes(house)
    await house.live(60)
    model.mode = None
    kept = await house.rows("SELECT tries, failures FROM messages WHERE direction = 'in' AND requests = 0 ORDER BY id")
    assert kept
    assert set(kept) == {(0, 0)}
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)


async def test_what_fails_for_two_people_keeps_no_answer_from_the_others(house: House, model: LoopbackModel) -> None:
    model.mode_of = lambda messages: ModelFault.SERVER_ERROR if "poison" in messages[-1].text else None
    await house.hear("poison", sender=PEOPLE[0])
    await house.hear("poison", sender=PEOPLE[1])
    await house.step()
    await house.hear("hello", sender=PEOPLE[2])
    await house.live(60)
    assert len(house.sent) == 1


async def test_a_request_that_is_cut_off_lets_the_next_one_ask(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.SERVER_ERROR
    await everybody_writes(house)
    model.mode = ModelFault.RESET
    await house.live(60)
    model.mode = None
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)


async def test_what_fails_for_one_person_is_asked_less_and_less_while_others_are_answered(
    house: House, model: LoopbackModel
) -> None:
    def fault(messages: Sequence[ChatMessage]) -> ModelFault | None:
        return ModelFault.SERVER_ERROR if "poison" in messages[-1].text else None

    model.mode_of = fault
    await house.hear("poison", sender=PEOPLE[0])
    for _ in range(60):
        await house.hear("hello", sender=PEOPLE[1])
        await house.live(30)
    asked = [one for one in model.requests if "poison" in one.messages[-1].text]
    assert 5 < len(asked) < 40
    assert len(house.sent) == 60


@pytest.mark.parametrize("fault", [refused(20003, 401), refused(20005, 403), too_many(None)])
async def test_a_twilio_that_refuses_us_is_asked_by_one_for_all(house: House, fault: TwilioFault) -> None:
    house.twilio.fault = fault
    await everybody_writes(house)
    await house.live(HALF_AN_HOUR)
    assert 5 < house.twilio.requests < 50
    house.twilio.fault = None
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)


@pytest.mark.parametrize("fault", [refused(20003, 401), refused(30002), too_many(None)])
async def test_a_twilio_account_that_is_refused_is_asked_by_one_for_all_addresses(
    house: House, fault: TwilioFault
) -> None:
    house.twilio.fault = fault
    for number, person in enumerate(PEOPLE):
        await house.hear("hello", sender=person, to=f"whatsapp:+1555000777{number}")
    await house.step()
    assert house.twilio.requests == 2
    house.twilio.fault = None
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)


async def test_an_address_that_twilio_refuses_holds_up_no_other_one(house: House) -> None:
    house.twilio.fail_next(refused(30034))
    await house.hear("hello", sender=PEOPLE[0])
    await house.step()
    await house.hear("hello", sender=PEOPLE[1], to="whatsapp:+15550008888")
    await house.step()
    assert house.sent == ["re: hello"]


async def test_what_waits_for_twilio_says_why(house: House) -> None:
    house.twilio.fault = refused(20003, 401)
    await everybody_writes(house)
    errors = {error for (error,) in await house.rows("SELECT error FROM outbox")}
    assert len(errors) == 1
    assert re.search("20003", errors.pop() or "")


UNANSWERED = [
    error(accepted=False),
    error(accepted=False, status=503),
    reset(accepted=False),
    pytest.param(hang(accepted=False), marks=pytest.mark.hangs),
]


@pytest.mark.parametrize("fault", UNANSWERED, ids=lambda fault: f"{fault.answer}-{fault.status}")
async def test_a_twilio_that_gives_no_answer_is_asked_by_one_for_all(house: House, fault: TwilioFault) -> None:
    house.twilio.fault = fault
    for number, person in enumerate(PEOPLE):
        await house.hear("hello", sender=person, to=f"whatsapp:+1555000777{number}")  # one account for all our numbers
    await house.step()
    assert house.twilio.requests == UNANSWERED_IN_A_ROW
    await house.live(60)
    assert house.twilio.requests < 25
    house.twilio.fault = None
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)


async def test_who_waits_for_a_twilio_that_gives_others_no_answer_loses_no_try(house: House) -> None:
    house.twilio.fault = error(accepted=False)
    await everybody_writes(house)
    await house.live(2 * HALF_AN_HOUR)
    before = house.twilio.requests
    await house.live(600)
    tried = sum(record.attempt for record in await house.engine.list(JobFilter(kinds=("process_ai_response",))))
    assert 0 < tried <= house.twilio.requests - before
    assert await house.dead() == []


@pytest.mark.hangs
async def test_one_person_whose_sends_get_no_answer_stops_nobody(house: House) -> None:
    for _ in range(5):
        house.twilio.fail_next(error(accepted=False))
        await house.hear("hello", sender=PEOPLE[0])
        await house.step()
        house.clock.advance(await house.due_in() or 0)
    house.twilio.fail_next(hang(accepted=False))
    await house.hear("hello", sender=PEOPLE[1])
    await house.step()
    before = len(house.sent)
    await house.hear("hello", sender=PEOPLE[2])
    await house.step()
    assert len(house.sent) > before
