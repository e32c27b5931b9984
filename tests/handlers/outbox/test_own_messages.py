"""Messages of our own: sent once, in their conversation's order, and only to who may be written to."""

from __future__ import annotations

import pytest

from convoq.jobs import SendMessage
from convoq.loopback.faults import refused, reset, too_many
from convoq.queue.base import JobFilter
from tests.handlers.house import ANA, BEN, OURS, House


async def test_a_message_of_our_own_does_not_divide_what_is_answered_together(house: House) -> None:
    await house.hear("one")
    await house.take_in()
    await house.send("a notice")
    await house.hear("two")
    await house.settle()
    assert house.sent == ["re: one + two", "a notice"]


async def test_a_message_of_our_own_is_sent_once_however_often_its_job_runs(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.twilio.fail_next(too_many("1"))
    await house.send("a notice")
    await house.settle()
    assert house.sent == ["re: hello", "a notice"]


async def test_several_messages_of_our_own_keep_their_order(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    for number in range(5):
        await house.send(str(number))
    house.twilio.fail_next(too_many("1"))
    await house.settle()
    assert house.sent[1:] == ["0", "1", "2", "3", "4"]


async def test_two_equal_messages_of_our_own_are_two(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send("ping")
    await house.send("ping")
    await house.settle()
    assert house.sent[1:] == ["ping", "ping"]


async def test_a_long_message_of_our_own_is_split(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send("word " * 500)
    await house.settle()
    assert "".join(house.sent[1:]) == "word " * 500


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ("a\x00\x07b\x1b[1m", "ab"),
        ("to \u202ethe left", "to the left"),
        ("*as* _typed_ **here**", "*as* _typed_ **here**"),
    ],
)
async def test_a_message_of_our_own_is_sent_as_typed_but_for_what_cannot_be_seen(
    house: House, body: str, sent: str
) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send(body)
    await house.settle()
    assert house.sent[1:] == [sent]


@pytest.mark.parametrize("body", ["", "  \n", "\u200b\u200d", "\x00\x1b[0m"])
async def test_an_empty_message_of_our_own_is_a_dead_letter(house: House, body: str) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send(body)
    await house.send("good")
    await house.settle()
    assert [record.error for record in await house.dead()] == ["the body is empty"]
    assert house.sent[-1] == "good"


@pytest.mark.parametrize(("column", "code"), [("opted_out_at", "opted_out"), ("blocked_at", "blocked")])
async def test_who_may_not_be_written_to_is_not(house: House, column: str, code: str) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change(f"UPDATE contacts SET {column} = 1")
    await house.send("a notice")
    await house.step()
    assert house.sent == ["re: hello"]
    assert (await house.rows("SELECT error_code FROM outbox ORDER BY id"))[-1] == (code,)


async def test_a_person_who_owns_the_conversation_may_still_write(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change("UPDATE conversations SET owner = 'human'")
    await house.send("this is Eva")
    await house.step()
    assert house.sent[-1] == "this is Eva"


async def test_the_ai_sees_what_we_wrote(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send("your table is booked")
    await house.settle()
    await house.hear("at what time?")
    await house.settle()
    assert ("system", "your table is booked") in [(line.author, line.text) for line in house.responder.asked[1].lines]


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "refused"])
async def test_the_ai_sees_nothing_of_ours_that_never_went_out(house: House, cancelled: bool) -> None:
    await house.hear("hello")
    await house.settle()
    house.twilio.fail_next(too_many("3600") if cancelled else refused(63003))
    job_id = await house.send("your table is gone")
    await house.step()
    await house.engine.cancel(JobFilter(ids=(job_id,)))
    await house.hear("when do you open?")
    await house.settle()
    assert [line.text for line in house.responder.asked[1].lines] == ["hello", "re: hello", "when do you open?"]


async def test_an_unknown_outcome_of_one_person_holds_up_nobody_else(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("from Ana")
    await house.step()
    await house.hear("from Ben", sender=BEN)
    await house.step()
    assert (house.twilio.messages[-1].to, house.twilio.messages[0].to) == (BEN, ANA)


async def test_a_channel_that_is_not_there_is_a_dead_letter_that_names_it(house: House) -> None:
    await house.queue.enqueue(SendMessage(channel="pigeon", our_address=OURS, address=ANA, body="coo").job())
    await house.settle()
    assert [dead.error for dead in await house.dead()] == ['there is no channel "pigeon" here, only twilio']
