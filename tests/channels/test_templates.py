"""Twilio's list of templates, and a message that is sent as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from convoq.channels.base import SendFailed
from convoq.channels.twilio.templates import TwilioTemplates
from convoq.clock import WallClock
from convoq.loopback.content import Content
from convoq.loopback.faults import TwilioFault
from convoq.loopback.twilio import LoopbackTwilio
from tests.channels.conftest import settings

Opener = Callable[..., Awaitable[TwilioTemplates]]


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    opened = []

    async def open_templates(url: str) -> TwilioTemplates:
        opened.append(await TwilioTemplates.open(settings(url), clock=WallClock()))
        return opened[-1]

    yield open_templates
    for one in opened:
        await one.close()


def content(number: int) -> Content:
    return Content(sid=f"HX{number:032x}", name=f"t{number}", body="Hello {{1}}")


async def test_a_template_is_read_with_what_whatsapp_says_of_it(loopback: LoopbackTwilio, opener: Opener) -> None:
    loopback.contents.all = [
        Content(sid="HX1", name="late", body="Hi {{name}}", language="pt", approval="rejected", reason="ABUSIVE"),
        Content(sid="HX2", name="plain", body="Hi", approval=None),
    ]
    late, plain = await (await opener(loopback.url)).read_all()
    assert (late.name, late.language, late.kind, late.body) == ("late", "pt", "twilio/text", "Hi {{name}}")
    assert (late.approval, late.reason, late.category) == ("rejected", "ABUSIVE", "utility")
    assert (plain.approval, plain.category) == ("unsubmitted", "")


async def test_5000_templates_come_once_each_from_pages_that_repeat(loopback: LoopbackTwilio, opener: Opener) -> None:
    loopback.contents.all = [content(number) for number in range(5000)]
    loopback.contents.repeated = 7
    found = await (await opener(loopback.url)).read_all()
    assert sorted(one.sid for one in found) == [one.sid for one in loopback.contents.all]


async def test_a_list_without_an_end_is_refused(loopback: LoopbackTwilio, opener: Opener) -> None:
    loopback.contents.all = [content(1)]
    loopback.contents.endless = True
    with pytest.raises(SendFailed, match="goes in circles"):
        await (await opener(loopback.url)).read_all()


@pytest.mark.parametrize("answer", ["error", "reset", "garbage"])
async def test_a_content_api_that_is_down_is_said(answer: str, loopback: LoopbackTwilio, opener: Opener) -> None:
    loopback.fault = TwilioFault(accepts=False, answer=answer, on="read")  # type: ignore[arg-type] # its words
    with pytest.raises(SendFailed, match="Twilio"):
        await (await opener(loopback.url)).read_all()
