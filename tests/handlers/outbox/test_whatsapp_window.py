"""WhatsApp takes free text for 24 hours after the person's last message, an SMS at any time."""

from __future__ import annotations

from convoq.loopback.faults import too_many
from tests.handlers.house import ANA_SMS, OUR_SMS, House

DAY = 86_400.0


async def test_whatsapp_takes_a_message_within_24_hours(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(DAY - 1)
    await house.send("are you coming?")
    await house.step()
    assert house.sent[-1] == "are you coming?"


async def test_after_24_hours_nothing_is_sent_to_whatsapp(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(DAY)
    await house.send("are you coming?")
    await house.step()
    assert house.sent == ["re: hello"]
    assert (await house.rows("SELECT state, error_code FROM outbox ORDER BY id"))[-1] == ("failed", "window")


async def test_the_window_is_judged_at_the_moment_of_sending(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear("hello")
    await house.step()
    house.clock.advance(DAY)
    await house.settle()
    assert (house.sent, await house.outbox_states()) == ([], ["failed"])


async def test_the_window_outlives_the_conversation_it_was_opened_in(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(3600)
    await house.lifecycle.close_expired(lambda tx, threads: None, silent_for=1800, limit=10)
    house.clock.advance(60)
    await house.send("your order is ready")
    await house.step()
    assert house.sent[-1] == "your order is ready"


async def test_an_sms_has_no_window(house: House) -> None:
    await house.send("hello", to=ANA_SMS, sender=OUR_SMS)
    await house.step()
    assert house.sent == ["hello"]


async def test_whatsapp_to_somebody_who_never_wrote_is_not_sent(house: House) -> None:
    await house.send("hello")
    await house.step()
    assert (house.sent, await house.outbox_states()) == ([], ["failed"])


async def test_the_window_is_counted_by_the_wall_clock_where_the_machine_was_suspended(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.wall.ahead = DAY
    await house.send("are you coming?")
    await house.step()
    assert house.sent == ["re: hello"]
    [(state, code, reason)] = await house.rows("SELECT state, error_code, error FROM outbox WHERE part = 0 AND id > 1")
    assert (state, code) == ("failed", "window")
    assert reason.endswith("WhatsApp takes only an approved template now")


async def test_a_reply_that_came_too_late_says_so_in_its_outcome(house: House) -> None:
    await house.hear("hello")
    await house.take_in()
    house.wall.ahead = DAY
    await house.settle()
    assert (house.sent, house.responder.asked) == ([], [])
    [(outcome, reason)] = await house.rows("SELECT outcome, reason FROM messages")
    assert (outcome, reason.partition(":")[0]) == ("window", "more than 24 hours since the person's last message")


async def test_a_wall_clock_that_was_set_back_keeps_no_window_open(house: House) -> None:
    house.wall.ahead = DAY
    await house.hear("hello")
    await house.settle()
    house.wall.ahead = 0
    house.clock.advance(DAY)
    await house.send("are you coming?")
    await house.step()
    assert house.sent == ["re: hello"]


async def test_a_wall_clock_that_tells_no_time_closes_no_window(house: House) -> None:
    house.wall.ahead = -50 * 365 * DAY
    await house.hear("hello")
    await house.settle()
    house.wall.ahead = 0
    await house.send("are you coming?")
    await house.step()
    assert house.sent == ["re: hello", "are you coming?"]


async def test_whoever_has_not_written_yet_is_said_to(house: House) -> None:
    await house.send("hello")
    await house.step()
    [(reason,)] = await house.rows("SELECT error FROM outbox")
    assert reason == "the person has not written yet: WhatsApp takes only an approved template first"
