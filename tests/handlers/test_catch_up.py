"""Messages whose webhook never came are found on Twilio's list and answered once, as if it had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from convoq.channels.twilio.webhooks import inbound_job
from convoq.clock import WallClock
from convoq.conversations.catching_up import CatchUp
from convoq.conversations.states import Outcome
from convoq.db import Database
from convoq.handlers.catch_up import CatchingUp, Found
from convoq.jobs import CatchUp as CatchUpJob
from convoq.jobs import ReceiveMessage
from convoq.loopback.faults import TwilioFault, too_many
from convoq.loopback.messages import TwilioMessage
from convoq.queue.base import JobFilter, JobState
from tests.clock import ManualClock
from tests.handlers.house import ANA, BEN, OUR_SMS, OURS, House, open_house
from tests.stores import on_each

MINUTE, HOUR = 60, 3600


@pytest.fixture
async def house(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    """Somebody has written to us a week ago, and is answered."""
    async with open_house(database, clock) as house:
        await house.hear("hello")
        await house.settle()
        await house.change("UPDATE our_addresses SET known_since = known_since - 604800000")
        house.twilio.messages.clear()
        yield house


def missed(
    house: House, text: str, *, ago: float = 5 * MINUTE, sender: str = BEN, to: str = OURS,
    media: Sequence[tuple[str, str]] = (),
) -> TwilioMessage:  # fmt: skip
    """Twilio has the message, and its webhook reached nobody."""
    form = house.twilio.inbound_form(from_=sender, to=to, body=text, sid=house.twilio.new_sid(), media=media)
    house.twilio._receive(form, media)
    message = house.twilio.received[-1]
    message.created -= round(ago * 1000)
    return message


async def catch_up(house: House) -> None:
    await house.upkeep(CatchUpJob.kind)
    await house.settle()


async def test_what_never_came_is_answered_once(house: House) -> None:
    missed(house, "are you open?")
    for _ in range(3):
        await catch_up(house)
    assert house.sent == ["re: are you open?"]


async def test_a_webhook_that_comes_after_all_is_a_duplicate(house: House) -> None:
    message = missed(house, "are you open?")
    await catch_up(house)
    await house.hear("are you open?", sender=BEN, sid=message.sid, dedup=False)
    await house.settle()
    assert house.sent == ["re: are you open?"]


async def test_what_has_come_by_itself_is_not_fetched(house: House) -> None:
    message = missed(house, "are you open?")
    await house.hear("are you open?", sender=BEN, sid=message.sid)
    await house.settle()
    reads = house.twilio.reads
    await catch_up(house)
    assert (house.sent, house.twilio.reads) == (["re: are you open?"], reads + 1)


async def test_a_message_that_may_still_come_by_itself_is_left_for_the_next_look(house: House) -> None:
    message = missed(house, "are you open?", ago=1 * MINUTE)
    await catch_up(house)
    assert house.sent == []
    message.created -= 5 * MINUTE * 1000
    await catch_up(house)
    assert house.sent == ["re: are you open?"]


async def test_several_are_answered_in_the_order_in_which_they_were_written(house: House) -> None:
    for number in range(3):
        missed(house, f"message {number}", ago=(9 - number) * MINUTE)
    await catch_up(house)
    assert house.sent == ["re: message 0 + message 1 + message 2"]


@on_each("messages", sqlite=[10_000], postgres=[1_000])
async def test_an_outage_of_ten_minutes_with_ten_thousand_messages_loses_none(house: House, messages: int) -> None:
    for number in range(messages):
        missed(house, f"message {number}", ago=600 - number / 100 + 150, sender=f"whatsapp:+1555{number % 50:07}")
    found = await looking(house).look()
    assert found == Found(listed=messages, missing=messages)
    assert await house.engine.count(JobFilter(kinds=("receive_message",), states=(JobState.READY,))) == messages


def looking(house: House) -> CatchingUp:
    channels = {house.channel.name: house.channel}
    return CatchingUp(CatchUp(house.database), channels, house.queue.enqueue, WallClock())


async def test_a_stop_that_never_came_is_obeyed(house: House) -> None:
    missed(house, "STOP", sender=ANA)
    await catch_up(house)
    assert await house.rows("SELECT address FROM contacts WHERE opted_out_at IS NOT NULL") == [(ANA,)]


@pytest.mark.parametrize("had_opted_out", [False, True])
async def test_a_stop_that_is_found_after_a_start_opts_nobody_out_again(house: House, *, had_opted_out: bool) -> None:
    if had_opted_out:
        await house.hear("STOP")
        await house.settle()
    missed(house, "STOP", ago=600, sender=ANA)
    await house.hear("START")
    await house.settle()
    await catch_up(house)
    assert await house.rows("SELECT opted_out_at FROM contacts WHERE address = ?", ANA) == [(None,)]
    assert ("STOP", "keyword") in await house.rows("SELECT body, outcome FROM messages ORDER BY id DESC LIMIT 1")


async def test_a_start_that_is_found_after_a_stop_lets_nothing_through(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    missed(house, "START", ago=600, sender=ANA)
    for _ in range(2):
        await house.hear("STOP")
        await house.settle()
    await catch_up(house)
    assert await house.rows("SELECT opted_out_at IS NULL FROM contacts WHERE address = ?", ANA) == [(False,)]


@pytest.mark.parametrize(("first", "then", "is_out"), [("STOP", "START", False), ("START", "STOP", True)])
async def test_a_stop_and_a_start_that_are_found_together_hold_in_the_order_they_were_written(
    first: str, then: str, is_out: bool, house: House
) -> None:
    missed(house, then, ago=500, sender=ANA)
    missed(house, first, ago=600, sender=ANA)
    await catch_up(house)
    assert await house.rows("SELECT opted_out_at IS NOT NULL FROM contacts WHERE address = ?", ANA) == [(is_out,)]


async def test_its_photos_come_with_it(house: House) -> None:
    url = house.twilio.new_media_url()
    missed(house, "look", media=[(url, "image/jpeg")])
    await catch_up(house)
    [(media,)] = await house.rows("SELECT media FROM messages WHERE body = 'look'")
    assert media == f'[{{"url": "{url}", "content_type": "image/jpeg"}}]'


async def test_it_is_dated_when_it_was_written(house: House) -> None:
    message = missed(house, "are you open?", ago=8 * HOUR)
    await catch_up(house)
    [(wall_at,)] = await house.rows("SELECT wall_at FROM messages WHERE body = 'are you open?'")
    assert wall_at == message.created // 1000 * 1000


async def test_what_is_older_than_a_day_is_left(house: House) -> None:
    missed(house, "are you open?", ago=25 * HOUR)
    await catch_up(house)
    assert house.sent == []


async def test_a_last_look_by_a_clock_that_was_ahead_hides_nothing(house: House) -> None:
    await catch_up(house)
    await house.change("UPDATE our_addresses SET caught_up_to = caught_up_to + 864000000")
    missed(house, "are you open?")
    await catch_up(house)
    assert house.sent == ["re: are you open?"]


async def test_a_shorter_look_by_hand_does_not_hide_what_lies_before_it(house: House) -> None:
    missed(house, "are you open?", ago=5 * HOUR)
    assert await looking(house).look(HOUR) == Found()
    await catch_up(house)
    assert house.sent == ["re: are you open?"]


async def test_what_waits_to_be_recorded_is_not_missing(house: House) -> None:
    message = missed(house, "are you open?")
    form = house.twilio.inbound_form(from_=BEN, to=OURS, body="are you open?", sid=message.sid)
    payload = ReceiveMessage(form=tuple(form))
    await house.queue.enqueue(inbound_job(payload, dict(form)))
    assert await looking(house).look() == Found(listed=1)


async def test_what_was_written_before_the_address_was_ours_is_not_for_us(house: House) -> None:
    await house.change("UPDATE our_addresses SET known_since = known_since + 604800000")
    missed(house, "are you open?", ago=2 * HOUR)
    await catch_up(house)
    assert house.sent == []


async def test_an_address_that_nobody_has_written_to_for_a_week_may_be_anothers(house: House) -> None:
    await house.change("UPDATE our_addresses SET last_heard = last_heard - 604800001")
    missed(house, "are you open?")
    await catch_up(house)
    assert house.sent == []


async def test_what_is_found_on_the_list_does_not_make_the_address_ours_for_longer(house: House) -> None:
    await house.change("UPDATE our_addresses SET last_heard = last_heard - 604700000")
    before = await house.rows("SELECT last_heard FROM our_addresses")
    missed(house, "are you open?")
    await catch_up(house)
    assert await house.rows("SELECT last_heard FROM our_addresses") == before


async def test_another_address_of_the_account_is_left_alone(house: House) -> None:
    missed(house, "are you open?", to=OUR_SMS, sender="+15551230002")
    await catch_up(house)
    assert house.sent == []


async def answered_elsewhere(house: House) -> None:
    """Another program has answered, or this one before its database was restored from an older backup."""
    missed(house, "are you open?")
    house.twilio.messages.append(
        TwilioMessage(sid=house.twilio.new_sid(), to=BEN, from_=OURS, body="Until six.", created=WallClock().now())
    )


async def test_what_was_answered_from_elsewhere_is_put_on_record_and_not_answered_again(house: House) -> None:
    await answered_elsewhere(house)
    await catch_up(house)
    assert house.sent == ["Until six."]
    assert ("are you open?", Outcome.ELSEWHERE) in await house.outcomes()


async def test_an_answer_of_ours_to_a_later_message_is_none_to_the_one_that_never_came(house: House) -> None:
    missed(house, "are you open?", ago=9 * MINUTE)
    await house.hear("hello?", sender=BEN)
    await house.settle()
    await catch_up(house)
    assert house.sent == ["re: hello?", "re: are you open?"]


async def test_while_twilio_gives_no_list_nothing_counts_as_looked_at(house: House) -> None:
    missed(house, "are you open?")
    house.twilio.fail_next(TwilioFault(accepts=False, answer="garbage", on="read"), times=3)
    await house.upkeep(CatchUpJob.kind)
    assert await house.rows("SELECT caught_up_to FROM our_addresses") == [(None,)]
    await house.settle()
    assert house.sent == ["re: are you open?"]


async def test_a_refused_account_leaves_no_dead_letter(house: House) -> None:
    house.twilio.fail_next(TwilioFault(accepts=False, answer="error", status=401, code=20003, on="read"))
    missed(house, "are you open?")
    await house.upkeep(CatchUpJob.kind)
    assert await house.dead() == []
    await catch_up(house)
    assert house.sent == ["re: are you open?"]


async def test_a_page_that_twilio_repeats_yields_nothing_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoq.channels.twilio.lists._PAGE_SIZE", 2)
    for number in range(5):
        missed(house, f"message {number}", ago=(9 - number) * MINUTE, sender=f"whatsapp:+1555123000{number}")
    listed: list[str] = []
    async for one in house.channel.list_received(OURS, WallClock().now() - HOUR * 1000):
        if len(listed) == 1:
            missed(house, "came while we read", sender=ANA)  # every later page begins one message earlier
        listed.append(one.provider_id)
    assert len(listed) == len(set(listed)) == 5


async def test_too_many_requests_are_waited_out(house: House) -> None:
    missed(house, "are you open?")
    house.twilio.fail_next(too_many("30"))
    house.twilio.fail_next(TwilioFault(accepts=False, answer="error", status=429, code=20429, on="read"))
    await catch_up(house)
    assert house.sent == ["re: are you open?"]


async def test_what_an_operator_texted_from_their_phone_meanwhile_is_done_once(house: House) -> None:
    await house.unwoken_acts("root").add_operator("Marta")
    await house.unwoken_acts("root").set_phone("Marta", BEN.removeprefix("whatsapp:"))
    missed(house, "#1 Six is fine.")
    for _ in range(3):
        await catch_up(house)
    assert [(one.to, one.body) for one in house.twilio.messages if one.body.startswith("Six")] == [
        (ANA, "Six is fine.")
    ]
    assert len(house.twilio.messages) == 2  # the other one tells Marta
