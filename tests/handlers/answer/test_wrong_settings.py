"""What a model refuses to everybody is the settings' fault: the messages are held, and the operator is told why."""

from __future__ import annotations

from structlog.testing import capture_logs

from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.monitoring.snapshot import AlertLimits, find_alerts, take
from convoq.text import without_ids
from tests.handlers.house import ANA, BEN, OUR_SMS, House

CARA = "whatsapp:+15551230003"
PEOPLE = (ANA, BEN, CARA)
HOUR = 3600.0
WORDS = {"openai": "The model does not exist", "anthropic": "model: unknown"}


async def everybody_writes(house: House) -> None:
    for person in PEOPLE:
        await house.hear("hello", sender=person)
        await house.step()


async def alerts(house: House) -> list[str]:
    found = find_alerts(await take(house.database, house.engine), AlertLimits(roles=(), max_wait=1e9))
    return [str(alert) for alert in found]


async def test_a_model_that_is_gone_costs_nobody_an_answer(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.NOT_FOUND
    await everybody_writes(house)
    await house.live(HOUR)
    assert (await house.dead(), len(model.requests) < 60) == ([], True)
    model.mode = None
    await house.live(300)
    assert house.sent == ["We open at 9."] * len(PEOPLE)


async def test_a_request_that_is_refused_to_several_people_is_held_also_of_the_first_of_them(
    house: House, model: LoopbackModel
) -> None:
    model.mode = ModelFault.REJECTED
    await everybody_writes(house)
    await house.live(HOUR)
    assert [outcome for _, outcome in await house.outcomes()] == [None, None, None]
    assert (await house.dead(), len(model.requests) < 60) == ([], True)
    model.mode = None
    await house.live(300)
    assert house.sent == ["We open at 9."] * len(PEOPLE)


async def test_the_servers_sentence_on_a_refused_request_is_in_the_log_and_in_the_status(
    house: House, model: LoopbackModel
) -> None:
    model.mode = ModelFault.REJECTED
    with capture_logs() as logs:
        await everybody_writes(house)
    [logged] = [entry["error"] for entry in logs if entry["event"] == "ai.refused"]
    [alert] = await alerts(house)
    said = logged.partition(": ")[2]
    assert said.startswith("HTTP 400: the request is refused (")
    assert without_ids(said) in without_ids(alert)


async def test_what_was_refused_to_everybody_for_a_day_does_not_come_back(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.REJECTED
    for number in range(3):
        await house.hear("hello", sender=f"+1555123000{number}", to=OUR_SMS)  # which has no window
    await house.live(60)
    house.clock.advance(24 * HOUR)
    await house.live(HOUR)
    dead = await house.dead()
    assert [job.error.endswith("(still so after 24 hours)") for job in dead if job.error] == [True] * 3


async def test_a_request_that_is_refused_while_others_are_answered_is_a_dead_letter(
    house: House, model: LoopbackModel
) -> None:
    model.mode_of = lambda messages: ModelFault.REJECTED if "poison" in messages[-1].text else None
    for person in PEOPLE:
        await house.hear("poison", sender=person)
        await house.step()
        await house.hear("hello", sender="whatsapp:+15551230009")
        await house.step()
    assert len(await house.dead()) == len(PEOPLE)
    assert len(house.sent) == len(PEOPLE)


async def test_the_servers_own_sentence_is_in_the_log_and_in_the_status(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.NOT_FOUND
    with capture_logs() as logs:
        await everybody_writes(house)
    words = WORDS[model.requests[0].dialect]
    [logged] = [entry["error"] for entry in logs if entry["event"] == "ai.refused"]
    [alert] = await alerts(house)
    assert words in logged
    assert "refuses whatever it is asked" in alert
    assert words in alert


async def test_the_status_has_nothing_to_say_of_a_model_that_answers_again(house: House, model: LoopbackModel) -> None:
    model.fail(ModelFault.NOT_FOUND)
    await everybody_writes(house)
    await house.live(300)
    assert len(house.sent) == len(PEOPLE)
    assert await alerts(house) == []
