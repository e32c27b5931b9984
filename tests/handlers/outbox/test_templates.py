"""A template goes out where WhatsApp takes no free text, by the same path as anything else that is said."""

from __future__ import annotations

import json
from functools import partial

import pytest

from convoq.clock import WallClock
from convoq.conversations.ownership import ActRefused
from convoq.conversations.resending import Resending
from convoq.conversations.templates import Template, TemplateRequest, Templates
from convoq.handlers.receive import enqueue_turns
from convoq.loopback.content import Content
from convoq.loopback.faults import reset
from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, OURS, House

DAY = 86_400.0
ORDER = Template(
    "HX1", "order", "en", "twilio/text", "Hello {{1}}, it is {{2}}.", ("1", "2"), "utility", "approved", ""
)
ASKED = TemplateRequest(name="order", variables={"1": "Ana", "2": "ready"})


async def know(house: House, *templates: Template) -> None:
    await Templates(house.database, WallClock()).replace_all(templates or [ORDER])
    house.twilio.contents.all = [Content(sid=one.sid, name=one.name, body=one.body) for one in templates or [ORDER]]


async def write(house: House, said: str | TemplateRequest, *, to: str = ANA, key: str | None = None) -> None:
    sender = OURS if to.startswith("whatsapp:") else OUR_SMS
    await house.acts().write_to("twilio", sender, to, said, key=key)


async def test_a_template_goes_to_who_never_wrote_and_the_history_has_its_text(house: House) -> None:
    await know(house)
    await write(house, ASKED)
    await house.settle()
    [message] = house.twilio.messages
    assert (message.content_sid, json.loads(message.content_variables or "")) == ("HX1", {"1": "Ana", "2": "ready"})
    assert message.body == "Hello Ana, it is ready."
    assert await house.rows("SELECT body FROM messages") == [("Hello Ana, it is ready.",)]
    assert await house.outbox_states() == ["sent"]


async def test_after_24_hours_a_template_goes_out_and_a_text_does_not(house: House) -> None:
    await know(house)
    await house.hear("hello")
    await house.settle()
    house.clock.advance(DAY)
    with pytest.raises(ActRefused, match=r"only an approved template now \(convoq send --template: order\)"):
        await write(house, "are you coming?")
    await write(house, ASKED)
    await house.settle()
    assert house.sent == ["re: hello", "Hello Ana, it is ready."]


async def test_a_template_whose_answer_was_lost_is_found_by_its_text_and_not_sent_again(house: House) -> None:
    await know(house)
    house.twilio.fail_next(reset())
    await write(house, ASKED)
    await house.settle()
    assert await house.outbox_states() == ["sent"]
    assert len(house.twilio.messages) == 1


async def test_the_same_key_sends_a_template_once(house: House) -> None:
    await know(house)
    for _ in range(2):
        await write(house, ASKED, key="order-12")
    await house.settle()
    assert house.sent == ["Hello Ana, it is ready."]


async def test_who_has_opted_out_gets_no_template(house: House) -> None:
    await know(house)
    await house.hear("STOP")
    await house.settle()
    before = list(house.sent)
    with pytest.raises(ActRefused, match="opted out"):
        await write(house, ASKED)
    await house.settle()
    assert house.sent == before


async def test_what_does_not_arrive_is_sent_again_as_the_template(house: House) -> None:
    await know(house)
    await write(house, ASKED)
    await house.settle()
    await house.report(house.twilio.messages[-1].sid, "undelivered", code=63013)
    await house.step()
    [(message_id,)] = await house.rows("SELECT id FROM messages")
    await Resending(house.database, house.wall).resend(message_id, partial(enqueue_turns, house.joined))
    await house.settle()
    assert [message.content_sid for message in house.twilio.messages] == ["HX1", "HX1"]


async def test_a_plain_template_also_goes_by_sms(house: House) -> None:
    await know(house, ORDER._replace(approval="unsubmitted"))
    await write(house, ASKED, to=ANA_SMS)
    await house.settle()
    assert house.sent == ["Hello Ana, it is ready."]


REFUSED = [
    (ORDER, TemplateRequest(name="oder"), r"no template 'oder' \(convoq send --template: order\)"),
    (ORDER, TemplateRequest(name="order", variables={"1": "Ana"}), "needs a value for 2"),
    (ORDER, TemplateRequest(name="order", variables={"1": "Ana", "2": " "}), "needs a value for 2"),
    (ORDER, TemplateRequest(name="order", variables={"1": "A", "2": "b", "3": "c"}), "has no variable 3"),
    (ORDER, TemplateRequest(name="order", variables={"1": "A\nB", "2": "b"}), "1: a value has no line break"),
    (ORDER, TemplateRequest(name="order", variables={"1": "A" * 1600, "2": "b"}), "at most 1,600"),
    (ORDER, TemplateRequest(name="order", language="pt"), "is not there in pt, but in en"),
    (ORDER._replace(approval="paused"), ASKED, "WhatsApp says of order: paused"),
    (ORDER._replace(approval="rejected", reason="ABUSIVE"), ASKED, r"rejected \(ABUSIVE\)"),
    (ORDER._replace(body=""), ASKED, "has no text that could stand in the history"),
]


@pytest.mark.parametrize(("known", "asked", "reason"), REFUSED)
async def test_what_cannot_be_sent_is_refused_with_nothing_left_behind(
    known: Template, asked: TemplateRequest, reason: str, house: House
) -> None:
    await know(house, known)
    with pytest.raises(ActRefused, match=reason):
        await write(house, asked)
    assert await house.rows("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM contacts)") == [(0, 0)]


async def test_an_sms_takes_no_buttons(house: House) -> None:
    await know(house, ORDER._replace(kind="twilio/quick-reply"))
    with pytest.raises(ActRefused, match="an SMS cannot show"):
        await write(house, ASKED, to=ANA_SMS)


async def test_which_of_several_languages_must_be_said(house: House) -> None:
    await know(house, ORDER, ORDER._replace(sid="HX2", language="pt", body="Olá {{1}}: {{2}}"))
    with pytest.raises(ActRefused, match="is there in en, pt: say which, with --language"):
        await write(house, ASKED)
    await write(house, TemplateRequest(name="order", variables={"1": "Ana", "2": "pronto"}, language="PT"))
    await house.settle()
    assert house.sent == ["Olá Ana: pronto"]


async def test_of_the_same_name_and_language_the_approved_one_is_taken_or_its_sid_is_asked_for(house: House) -> None:
    await know(house, ORDER._replace(approval="rejected"), ORDER._replace(sid="HX2"))
    await write(house, ASKED)
    await house.settle()
    assert house.twilio.messages[0].content_sid == "HX2"
    await know(house, ORDER, ORDER._replace(sid="HX2"))
    with pytest.raises(ActRefused, match="by its SID, HX1, HX2"):
        await write(house, ASKED)
    await write(house, TemplateRequest(name="HX2", variables={"1": "Ana", "2": "b"}))
