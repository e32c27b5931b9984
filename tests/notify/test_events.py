"""What calls for a person is told, signed, to a real server; and when it is over, that too."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.ai.base import CallBound, ModelCall, ReplyContext
from convoq.conversations import alarms
from convoq.conversations.erasing import Erasing
from convoq.conversations.text_index import TextIndex
from convoq.errors import Unrecoverable
from convoq.handlers.base import ClaimContext
from convoq.handlers.erasing import Erasure
from convoq.jobs import raw_job
from convoq.loopback.faults import refused
from convoq.queue.base import JobFilter
from convoq.settings.notify import NotifySettings
from tests.handlers.house import ANA, OURS, House
from tests.handlers.who_answers.chats import PERSON_PLEASE, ask_for_person, open_chat
from tests.handovers import TAKEN_WITHIN
from tests.notify.endpoint import Endpoint

MASKED = "whatsapp:+1555***0001"


async def told(house: House, endpoint: Endpoint) -> list[str]:
    """All that was told until now."""
    await house.tell()
    return [one.type for one in endpoint.taken]


def facts(endpoint: Endpoint) -> dict[str, Any]:
    """Of what was told last, without its sentence and whose it was."""
    data = endpoint.taken[-1].data
    return {key: data[key] for key in data.keys() - {"summary", "conversation", "address", "our_address"}}


async def test_a_hand_over_is_told_with_its_reason_and_a_masked_number(house: House, endpoint: Endpoint) -> None:
    conversation_id = await ask_for_person(house)
    assert await told(house, endpoint) == ["conversation.handed_over"]
    assert endpoint.taken[0].data == {
        "summary": f"Conversation {conversation_id} with {MASKED} waits for a person: asked",
        "conversation": conversation_id, "address": MASKED, "our_address": OURS, "reason": "asked",
    }  # fmt: skip
    assert PERSON_PLEASE not in str(endpoint.taken)


async def test_that_a_colleague_took_it_is_told(house: House, endpoint: Endpoint) -> None:
    conversation_id = await ask_for_person(house)
    await told(house, endpoint)
    await house.acts("Marta").take_over(conversation_id)
    assert await told(house, endpoint) == ["conversation.handed_over", "conversation.handed_over.resolved"]
    assert facts(endpoint) == {"reason": "asked", "by": "Marta", "owner": "human"}


async def test_a_second_hand_over_within_the_hour_is_told_again(house: House, endpoint: Endpoint) -> None:
    conversation_id = await ask_for_person(house)
    await house.acts().take_over(conversation_id)
    await house.acts().release(conversation_id)
    await house.hear(PERSON_PLEASE)
    await house.settle()
    told_so_far = await told(house, endpoint)
    assert told_so_far.count("conversation.handed_over") == 2


async def test_that_nobody_has_come_is_told_and_that_somebody_has(house: House, endpoint: Endpoint) -> None:
    conversation_id = await ask_for_person(house)
    house.clock.advance(TAKEN_WITHIN)
    await house.upkeep("process_handovers")
    assert await told(house, endpoint) == ["conversation.handed_over", "conversation.waiting_too_long"]
    await house.acts().take_over(conversation_id)
    assert (await told(house, endpoint))[2:] == [
        "conversation.handed_over.resolved",
        "conversation.waiting_too_long.resolved",
    ]


async def test_a_closed_conversation_is_told_with_who_closed_it(house: House, endpoint: Endpoint) -> None:
    conversation_id = await open_chat(house)
    await house.acts("Luis").close(conversation_id)
    assert await told(house, endpoint) == ["conversation.closed"]
    assert facts(endpoint) == {"reason": "operator", "by": "Luis"}


async def test_one_alarm_tells_of_all_dead_letters_of_an_hour_and_the_last_retry_ends_it(
    house: House, endpoint: Endpoint
) -> None:
    errors: list[Exception] = [Unrecoverable("never")] * 3

    async def remind(_: ClaimContext) -> None:
        if errors:
            raise errors.pop()

    house.handlers["remind"] = remind
    for _ in range(3):
        await house.queue.enqueue(raw_job("remind", {}))
        await house.step()
    newest, second, first = [job.id for job in await house.dead()]
    assert await told(house, endpoint) == ["job.dead"]
    assert facts(endpoint) == {"kind": "remind", "job": first}
    house.clock.advance(3600)
    await told(house, endpoint)
    assert facts(endpoint) == {"kind": "remind", "job": newest, "count": 2}
    for job_id in (newest, second):
        await house.engine.discard(JobFilter(ids=(job_id,)))
    assert await told(house, endpoint) == ["job.dead", "job.dead"]
    await house.engine.retry_dead(JobFilter(ids=(first,)))
    assert await told(house, endpoint) == ["job.dead", "job.dead", "job.dead.resolved"]


async def test_a_model_that_refuses_our_key_is_told_once_and_that_it_answers_again(
    house: House, endpoint: Endpoint
) -> None:
    async def with_outcome(context: ReplyContext, outcome: str) -> str:
        await context.record(ModelCall(model="acme:clever", outcome=outcome))
        return "yes"

    async def refuses(context: ReplyContext) -> str:
        return await with_outcome(context, "account")

    async def answers(context: ReplyContext) -> str:
        return await with_outcome(context, "ok")

    for script in (refuses, refuses):
        house.responder.script = [script]
        await house.hear("hello?")
        await house.settle()
    assert await told(house, endpoint) == ["provider.refused"]
    assert facts(endpoint) == {"provider": "acme:clever"}
    house.clock.advance(1)
    house.responder.script = [answers]
    await house.hear("and now?")
    await house.settle()
    assert await told(house, endpoint) == ["provider.refused", "provider.refused.resolved"]


async def test_an_account_that_twilio_refuses_is_told_and_that_it_sends_again(house: House, endpoint: Endpoint) -> None:
    house.twilio.fail_next(refused(20003, status=401))
    await house.hear("hello?")
    await house.step()
    assert await told(house, endpoint) == ["provider.refused"]
    assert endpoint.taken[0].data["our_address"] == OURS
    await house.settle()
    assert await told(house, endpoint) == ["provider.refused", "provider.refused.resolved"]


async def test_a_used_up_budget_is_told_and_the_next_day(house: House, endpoint: Endpoint) -> None:
    async def dear(context: ReplyContext) -> str:
        await context.hold(CallBound(model="m", input_tokens=1, most_input_tokens=5000, output_tokens=1))
        return "never"

    house.responder.always = dear
    await house.hear("hello?")
    await house.step()
    assert await told(house, endpoint) == ["budget.reached", "conversation.handed_over"]
    assert endpoint.taken[0].data.keys() == {"summary", "scope", "period", "currency", "until", "our_address"}
    house.wall.ahead = 86_400
    assert (await told(house, endpoint))[2:] == ["budget.reached.resolved"]


@pytest.mark.parametrize("fails_at", ["send", "undelivered", "canceled"])
async def test_a_message_that_is_not_delivered_is_told_with_its_code(
    house: House, endpoint: Endpoint, fails_at: str
) -> None:
    if fails_at == "send":
        house.twilio.fail_next(refused(63003))
    await house.hear("hello?")
    await house.settle()
    if fails_at != "send":
        await house.report(house.twilio.messages[-1].sid, fails_at, code=63003)
        await house.settle()
    assert await told(house, endpoint) == ["message.undelivered"]
    assert facts(endpoint) == {"code": "63003"}


async def test_what_is_sent_once_more_is_told_only_when_that_fails_too(house: House, endpoint: Endpoint) -> None:
    await house.hear("hello?")
    await house.settle()
    for expected in ([], ["message.undelivered"]):
        await house.report(house.twilio.messages[-1].sid, "undelivered", code=30008)
        await house.step()
        assert await told(house, endpoint) == expected
        await house.settle()


async def test_nothing_is_written_down_where_nobody_is_to_be_told(house: House) -> None:
    await house.notifications.set_targets([])
    conversation_id = await ask_for_person(house)
    await house.acts().close(conversation_id)
    assert await house.rows("SELECT event FROM notifications UNION ALL SELECT event FROM alarms") == []


async def test_a_message_and_its_answer_ask_nothing_of_alarms(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where targets are named, the way that each message takes has no statement more."""
    asked: list[str] = []
    for name in ("is_wanted", "resolve", "raise_alarm", "tell"):
        monkeypatch.setattr(alarms, name, lambda *_, name=name, **__: asked.append(name))
    await open_chat(house)
    await house.hear("and on Sunday?")
    await house.settle()
    await house.report(house.twilio.messages[-1].sid, "delivered")
    await house.settle()
    assert asked == []
    await house.acts().take_over(1)
    await house.acts().close(1)
    assert asked == ["is_wanted"]  # that it is over is told


class TestWithTexts:
    @pytest.fixture
    def notify(self, notify: NotifySettings) -> NotifySettings:
        return notify.model_copy(update={"texts": True, "numbers": True})

    async def test_texts_and_numbers_stand_in_it_where_the_settings_say_so(
        self, house: House, endpoint: Endpoint
    ) -> None:
        await ask_for_person(house)
        await told(house, endpoint)
        data = endpoint.taken[0].data
        assert (data["text"], data["address"]) == (PERSON_PLEASE, ANA)


async def test_what_waits_to_be_told_of_an_erased_person_is_told_no_more(house: House, endpoint: Endpoint) -> None:
    await ask_for_person(house)
    erasure = Erasure(
        Erasing(house.database), TextIndex(house.database), house.engine, house.clock, house.database.scrub,
        channel="twilio",
    )  # fmt: skip
    await erasure.erase([ANA], house.unwoken_acts().erase)
    assert await told(house, endpoint) == []
    assert await house.rows("SELECT event FROM notifications UNION ALL SELECT event FROM alarms") == []


async def test_what_was_told_is_kept_for_thirty_days(house: House, endpoint: Endpoint) -> None:
    conversation_id = await open_chat(house)
    await house.acts("Luis").close(conversation_id)
    await told(house, endpoint)
    for days, left in ((29, 1), (2, 0)):
        house.clock.advance(days * 86_400)
        await house.upkeep("housekeeping")
        assert len(await house.rows("SELECT id FROM notifications")) == left
