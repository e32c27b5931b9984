"""An operator answers from their own phone: the same acts, and nothing of it is a conversation of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.conversations import senders
from convoq.conversations.erasing import Erasing
from convoq.conversations.text_index import TextIndex
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.handlers.erasing import Erasure
from convoq.phone import addresses_of
from convoq.queue.base import JobFilter
from convoq.queue.redis.connection import Server
from tests.clock import ManualClock
from tests.handlers.house import ANA, OUR_SMS, OURS, House, open_house
from tests.handlers.who_answers.chats import PERSON_PLEASE, ask_for_person, open_chat, owner
from tests.handovers import HANDOVER

MARTA = "+15557770001"
MARTA_WHATSAPP = f"whatsapp:{MARTA}"
MASKED = "whatsapp:+1555***0001"


@pytest.fixture(params=["beside", "redis"])
async def house(
    request: pytest.FixtureRequest, database: Database | PostgresDatabase, clock: ManualClock
) -> AsyncIterator[House]:
    """With its queue in the store's database, and on Redis; Marta has a phone."""
    server = Server(request.getfixturevalue("redis_server").url) if request.param == "redis" else None
    async with open_house(database, clock, handover=HANDOVER, redis=server) as house:
        await house.unwoken_acts("root").add_operator("Marta")
        await house.unwoken_acts("root").set_phone("Marta", MARTA)
        yield house


async def text(house: House, words: str, *, sender: str = MARTA_WHATSAPP, to: str = OURS) -> str:
    """What Marta gets back."""
    before = len(to_marta(house))
    await house.hear(words, sender=sender, to=to)
    await house.settle()
    [answer] = to_marta(house)[before:]
    return answer


def to_marta(house: House) -> list[str]:
    return [one.body for one in house.twilio.messages if one.to in (MARTA, MARTA_WHATSAPP)]


def to_ana(house: House) -> list[str]:
    return [one.body for one in house.twilio.messages if one.to == ANA]


async def acts(house: House) -> list[tuple[str, str, str | None]]:
    return await house.rows("SELECT who, act, way FROM audit WHERE conversation_id IS NOT NULL ORDER BY id")


async def test_a_text_with_a_number_is_a_reply_that_takes_the_conversation_over(house: House) -> None:
    number = await ask_for_person(house)
    answer = await text(house, f"#{number} Six at eight is fine.\nSee you!")
    assert answer == f"#{number}: on its way, answers 1 message. It is yours; the AI is silent there."
    assert to_ana(house)[-1] == "Six at eight is fine.\nSee you!"
    assert await owner(house) == "human Marta"
    assert await acts(house) == [("Marta", "reply", "phone")]


async def test_bot_off_and_on_take_the_conversation_over_and_give_it_back(house: House) -> None:
    number = await open_chat(house)
    assert await text(house, f"/bot off {number}") == f"#{number}: it is yours; the AI is silent there."
    await house.hear("is anybody there?")
    await house.settle()
    assert await owner(house) == "human Marta"
    assert await text(house, f"/BOT on #{number}") == f"#{number}: the AI has it back and answers 1 message."
    assert to_ana(house)[-1] == "re: is anybody there?"
    assert await acts(house) == [("Marta", "take_over", "phone"), ("Marta", "release", "phone")]


async def test_the_list_says_who_waits_and_since_when(house: House) -> None:
    assert await text(house, "/list") == "Nobody waits for a person."
    number = await ask_for_person(house)
    house.clock.advance(240)
    assert await text(house, " /List ") == f"#{number} {MASKED}, 4 min: asked"


async def test_a_number_alone_shows_what_was_said_last(house: House) -> None:
    number = await open_chat(house)
    assert await text(house, f"#{number}") == f"#{number} {MASKED}, ai\ncontact: hello\nai: re: hello"


@pytest.mark.parametrize(
    "words", ["hello", "/help", "help", "/bot", "/bot on", "/take 7", "#", "", "yes", "# x", "42 hi"]
)
async def test_anything_else_is_answered_with_the_commands_and_never_by_the_ai(house: House, words: str) -> None:
    answer = await text(house, words)
    assert answer.startswith("#42 text: write in conversation 42")
    assert house.responder.asked == []


async def test_an_operators_text_is_no_conversation_and_in_no_table(house: House) -> None:
    number = await open_chat(house)
    await text(house, f"#{number} the lilac wardrobe")
    await text(house, "just the lilac")
    assert await house.rows("SELECT count(*) FROM contacts") == [(1,)]
    assert await house.rows("SELECT count(*) FROM conversations") == [(1,)]
    jobs = await house.engine.list(JobFilter(), limit=100)
    assert [job.kind for job in jobs if "lilac" in f"{job}"] == []


@pytest.mark.parametrize("words", ["#99 hello", "/bot on 99", "/bot off 999999999999999999", "#99"])
async def test_a_conversation_that_is_not_there_is_said_so(house: House, words: str) -> None:
    assert (await text(house, words)).startswith("Not done: there is no conversation 99")


async def test_a_colleagues_conversation_is_said_to_be_theirs(house: House) -> None:
    number = await open_chat(house)
    await house.unwoken_acts("root").add_operator("Luis")
    await house.unwoken_acts("Luis").take_over(number)
    assert (await text(house, f"#{number} hello")).startswith(f"Not done: Luis answers conversation {number}, since")
    assert await owner(house) == "human Luis"
    assert await house.rows("SELECT count(*) FROM messages WHERE author = 'operator'") == [(0,)]


async def test_a_closed_window_is_said_and_nothing_of_the_reply_is_left(house: House) -> None:
    number = await open_chat(house)
    house.clock.advance(25 * 3600)
    house.wall.ahead = 25 * 3600
    await house.upkeep("process_expired")
    answer = await text(house, f"#{number} hello")
    assert answer.startswith("Not done: more than 24 hours")
    assert await house.rows("SELECT count(*) FROM conversations") == [(1,)]


async def test_what_is_said_twice_is_sent_once(house: House) -> None:
    number = await open_chat(house)
    sid = house.twilio.new_sid()
    for _ in range(2):
        await house.hear(f"#{number} hello", sender=MARTA_WHATSAPP, sid=sid, dedup=False)
        await house.settle()
    assert to_ana(house).count("hello") == 1


async def test_it_works_by_sms_as_well(house: House) -> None:
    number = await open_chat(house)
    answer = await text(house, f"#{number} hello", sender=MARTA, to=OUR_SMS)
    assert answer.startswith(f"#{number}: on its way")
    assert house.twilio.messages[-1].from_ in (OUR_SMS, OURS)


async def test_after_a_stop_an_operator_is_told_nothing_until_a_start(house: House) -> None:
    number = await open_chat(house)
    await house.hear("STOP", sender=MARTA_WHATSAPP)
    await house.settle()
    before = len(to_marta(house))
    await house.hear(f"#{number} hello", sender=MARTA_WHATSAPP)
    await house.settle()
    assert len(to_marta(house)) == before
    await house.hear("START", sender=MARTA_WHATSAPP)
    await house.settle()
    assert await text(house, "/list") == "Nobody waits for a person."
    assert len(house.responder.asked) == 1  # for Ana


async def test_what_an_operator_texted_to_a_customer_goes_with_the_customers_erasure(house: House) -> None:
    number = await open_chat(house)
    await text(house, f"#{number} the lilac wardrobe")
    erasure = Erasure(
        Erasing(house.database), TextIndex(house.database), house.engine, house.clock, house.database.scrub,
        channel="twilio",
    )  # fmt: skip
    await erasure.erase(addresses_of(ANA), house.unwoken_acts("Marta").erase)
    assert await house.rows("SELECT id FROM messages WHERE body LIKE '%lilac%'") == []
    refusal = "the person was erased: nothing can be written to them from here"
    assert await text(house, f"#{number} one more") == f"Not done: {refusal}."


async def test_a_number_that_is_an_operators_no_more_is_a_customers(house: House) -> None:
    await house.unwoken_acts("root").set_phone("Marta", None)
    await house.hear("hello", sender=MARTA_WHATSAPP)
    await house.settle()
    assert to_marta(house) == ["re: hello"]


async def test_a_message_of_a_customer_costs_no_statement_more(house: House) -> None:
    """The one that looks whether it is from us says whether it is an operator's."""
    seen: list[str] = []

    def unit(tx: object) -> None:
        class Counting:
            def execute(self, sql: str, values: object = ()) -> object:
                seen.append(sql)
                return tx.execute(sql, values)  # type: ignore[attr-defined]  # the transaction of either database

        senders.find_sender(Counting(), "twilio", ANA)  # type: ignore[arg-type]  # it only executes

    await house.database.read(unit)
    assert seen == [senders.SENDER]


class TestAlerts:
    @pytest.fixture
    async def told(self, house: House) -> House:
        await house.unwoken_acts("root").set_phone("Marta", MARTA, alerts=True)
        return house

    async def test_who_waits_for_a_person_is_told_to_an_operators_phone_without_their_words(self, told: House) -> None:
        await text(told, "/list")
        number = await ask_for_person(told)
        await told.tell()
        alert = to_marta(told)[-1]
        assert alert == (
            f"Conversation {number} with {MASKED} waits for a person: asked."
            f" To answer from here: #{number} and your text. /help"
        )

    async def test_whatsapp_is_not_asked_to_carry_it_more_than_24_hours_after_their_last_text(
        self, told: House
    ) -> None:
        await text(told, "/list")
        told.wall.ahead = 25 * 3600
        await ask_for_person(told)
        await told.tell()
        assert len(to_marta(told)) == 1
        assert await told.rows("SELECT state FROM notifications") == [("dropped",)]

    async def test_what_was_taken_meanwhile_is_not_told(self, told: House) -> None:
        await text(told, "/list")
        number = await ask_for_person(told)
        await told.unwoken_acts("Marta").take_over(number)
        await told.tell()
        assert len(to_marta(told)) == 1

    async def test_six_an_hour_are_enough(self, told: House) -> None:
        await text(told, "/list")
        for customer in range(8):
            address = f"whatsapp:+1555123010{customer}"
            await told.hear(PERSON_PLEASE, sender=address)
            await told.settle()
            await told.tell()
        assert len(to_marta(told)) == 1 + 6
        told.clock.advance(3600)
        await told.hear(PERSON_PLEASE, sender="whatsapp:+15551230200")
        await told.settle()
        await told.tell()
        assert len(to_marta(told)) == 1 + 7

    async def test_an_operator_who_said_stop_is_told_nothing(self, told: House) -> None:
        await open_chat(told)
        await text(told, "/list")
        await told.hear("STOP", sender=MARTA_WHATSAPP)
        await told.settle()
        before = len(to_marta(told))
        await told.hear(PERSON_PLEASE)
        await told.settle()
        await told.tell()
        assert len(to_marta(told)) == before

    async def test_an_operator_who_was_removed_is_told_nothing(self, told: House) -> None:
        await text(told, "/list")
        await told.unwoken_acts("root").remove_operator("Marta")
        await ask_for_person(told)
        await told.tell()
        assert len(to_marta(told)) == 1
