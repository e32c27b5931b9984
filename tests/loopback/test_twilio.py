"""The loopback Twilio behaves as Twilio does, signatures and retries included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

from convoq.channels.twilio.form import check_shape_inbound, check_shape_status
from convoq.channels.twilio.webhooks import INBOUND_PATH, status_url
from convoq.loopback.faults import hang, refused
from convoq.loopback.twilio import AUTH_TOKEN, LoopbackTwilio

ANA, ME = "whatsapp:+34600000001", "whatsapp:+14155238886"


@dataclass
class Webhook:
    """Our side of the webhooks: remembers what came and answers as it is told."""

    url: str = ""
    status: int = 200
    forms: list[dict[str, str]] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    failures: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True, errors="strict"))
        self.forms.append(form)
        self.tokens.append(request.headers["I-Twilio-Idempotency-Token"])
        url = self.url + request.raw_path
        self.valid.append(RequestValidator(AUTH_TOKEN).validate(url, form, request.headers["X-Twilio-Signature"]))
        if self.failures:
            self.failures -= 1
            return web.Response(status=503)
        return web.Response(status=self.status, text="<Response/>", content_type="text/xml")


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/{path:.*}", webhook.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    webhook.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield webhook
    await runner.cleanup()


@pytest.fixture
async def loopback() -> AsyncIterator[LoopbackTwilio]:
    async with LoopbackTwilio(retry_delay=0.01) as loopback:
        yield loopback


async def create(loopback: LoopbackTwilio, *, auth: str = AUTH_TOKEN, **form: str) -> tuple[int, dict[str, object]]:
    url = f"{loopback.url}/2010-04-01/Accounts/{loopback.account_sid}/Messages.json"
    headers = {"Authorization": aiohttp.encode_basic_auth(loopback.account_sid, auth)}
    form = {"To": ANA, "From": ME, "Body": "hi", **form}
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as response:
        return response.status, await response.json()


# Webhooks


async def test_a_message_is_delivered_as_twilio_does(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    answer = await loopback.deliver(f"{webhook.url}{INBOUND_PATH}?x=%20", from_=ANA, to=ME, body="ñ 🙂\0&=")
    assert (answer.status, answer.text, answer.content_type, answer.tries) == (200, "<Response/>", "text/xml", 1)
    assert webhook.valid == [True]
    assert webhook.forms[0]["Body"] == "ñ 🙂\0&="
    assert len(webhook.forms[0]) >= 13
    assert check_shape_inbound(list(webhook.forms[0].items()), loopback.account_sid) is None
    assert [message.body for message in loopback.received] == ["ñ 🙂\0&="]


async def test_an_sms_with_media_is_delivered(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    await loopback.deliver(
        webhook.url + "/x", from_="+15551230001", to="+15557654321", media=[("https://m/1", "image/png")]
    )
    form = webhook.forms[0]
    assert (form["NumMedia"], form["MediaUrl0"], form["MessageSid"][:2]) == ("1", "https://m/1", "MM")
    assert webhook.valid == [True]


async def test_the_fragment_steers_twilio_and_is_not_signed(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    await loopback.deliver(webhook.url + "/x#rc=5&rp=all", from_=ANA, to=ME)
    assert webhook.valid == [True]


async def test_forged_and_foreign_signatures_do_not_verify(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    await loopback.deliver(webhook.url + "/x", from_=ANA, to=ME, forged=True)
    await loopback.deliver(webhook.url + "/x", from_=ANA, to=ME, token="another")
    await loopback.deliver(webhook.url + "/x", from_=ANA, to=ME, signed_url="https://bot.example.com/x")
    assert webhook.valid == [False, False, False]


async def test_extra_fields_are_sent(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    await loopback.deliver(webhook.url + "/x", from_=ANA, to=ME, extra={"ButtonText": "Yes", "ProfileName": "Eva"})
    assert (webhook.forms[0]["ButtonText"], webhook.forms[0]["ProfileName"]) == ("Yes", "Eva")


async def test_a_retry_is_the_same_message(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    webhook.failures = 2
    answer = await loopback.deliver(webhook.url + "/x", from_=ANA, to=ME, retries=5)
    assert (answer.status, answer.tries) == (200, 3)
    assert len({form["MessageSid"] for form in webhook.forms}) == 1
    assert len(set(webhook.tokens)) == 1
    assert len(loopback.received) == 1


async def test_without_retries_a_failure_is_final(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    webhook.failures = 1
    assert (await loopback.deliver(webhook.url + "/x", from_=ANA, to=ME)).status == 503
    assert (await loopback.deliver("http://127.0.0.1:9/x", from_=ANA, to=ME)).status is None


# The API


async def test_statuses_are_called_back_in_order(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    status, created = await create(loopback, StatusCallback=status_url(webhook.url, "ref-1"))
    await loopback.settled()
    assert (status, created["status"]) == (201, "queued")
    assert [form["MessageStatus"] for form in webhook.forms] == ["sent", "delivered"]
    assert webhook.valid == [True, True]
    assert all(check_shape_status(list(form.items()), loopback.account_sid) is None for form in webhook.forms)
    message = loopback.messages[0]
    assert (message.reference, message.status, message.answers) == ("ref-1", "delivered", [200, 200])


async def test_a_delivery_is_configurable(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    loopback.delivery = [("delivered", None), ("sent", None), ("sent", None), ("undelivered", 63016)]
    await create(loopback, StatusCallback=webhook.url + "/s")
    await loopback.settled()
    assert [form["MessageStatus"] for form in webhook.forms] == ["delivered", "sent", "sent", "undelivered"]
    assert [form.get("ErrorCode") for form in webhook.forms] == [None, None, None, "63016"]
    assert loopback.messages[0].error_code == 63016


async def test_callbacks_are_repeated_while_the_server_is_away(loopback: LoopbackTwilio, webhook: Webhook) -> None:
    webhook.failures = 2
    await create(loopback, StatusCallback=webhook.url + "/s")
    await loopback.settled()
    assert [form["MessageStatus"] for form in webhook.forms] == ["sent"] * 3 + ["delivered"]


async def test_callbacks_to_nobody_are_given_up(loopback: LoopbackTwilio) -> None:
    await create(loopback, StatusCallback="http://127.0.0.1:9/s")
    await loopback.settled()
    assert loopback.messages[0].answers == []


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"Body": "🙂" * 801}, 21617),
        ({"To": "nobody!"}, 21211),
        ({"To": "+15550001111"}, 21610),
    ],
)
async def test_parameters_are_checked(loopback: LoopbackTwilio, form: dict[str, str], code: int) -> None:
    loopback.refuses["+15550001111"] = 21610
    status, answer = await create(loopback, **form)
    assert (status, answer["code"]) == (400, code)
    assert loopback.messages == []


async def test_credentials_are_checked(loopback: LoopbackTwilio) -> None:
    status, answer = await create(loopback, auth="wrong")
    assert (status, answer["code"]) == (401, 20003)


async def test_faults_of_the_next_requests_come_first(loopback: LoopbackTwilio) -> None:
    loopback.fault = refused(1)
    loopback.fail_next(refused(2), times=2)
    assert [(await create(loopback))[1]["code"] for _ in range(3)] == [2, 2, 1]
    loopback.fault = None
    assert (await create(loopback))[0] == 201


async def test_listeners_hear_of_messages_and_statuses(loopback: LoopbackTwilio) -> None:
    heard: list[tuple[str, str]] = []
    stop = loopback.listen(lambda event, message: heard.append((event, message.status)))
    await create(loopback)
    await loopback.settled()
    stop()
    await create(loopback)
    assert heard == [("message", "queued"), ("status", "sent"), ("status", "delivered")]


async def test_waiting_ends_with_the_message(loopback: LoopbackTwilio) -> None:
    waiting = asyncio.create_task(loopback.wait_for_messages(2))
    await create(loopback, Body="one")
    await create(loopback, Body="two")
    assert [message.body for message in await waiting] == ["one", "two"]
    with pytest.raises(TimeoutError):
        await loopback.wait_for_messages(3, timeout=0.01)


async def test_closing_lets_go_of_requests_that_hang() -> None:
    loopback = LoopbackTwilio()
    await loopback.start()
    loopback.fault = hang()
    asking = asyncio.create_task(create(loopback))
    await loopback.wait_for_messages(1)
    async with asyncio.timeout(5):
        await loopback.close()
        await asyncio.gather(asking, return_exceptions=True)


async def test_one_message_is_shown(loopback: LoopbackTwilio) -> None:
    await create(loopback)
    headers = {"Authorization": aiohttp.encode_basic_auth(loopback.account_sid, AUTH_TOKEN)}
    base = f"{loopback.url}/2010-04-01/Accounts/{loopback.account_sid}/Messages"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{base}/{loopback.messages[0].sid}.json") as response:
            assert (await response.json())["body"] == "hi"
        async with session.get(f"{base}/SM{'0' * 32}.json") as response:
            assert (response.status, (await response.json())["code"]) == (404, 20404)


def test_sids_look_like_twilios() -> None:
    sids = {LoopbackTwilio().new_sid() for _ in range(100)}
    assert len(sids) == 100
    assert all(len(sid) == 34 and sid.startswith("SM") for sid in sids)
