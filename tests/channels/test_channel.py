"""The channel against a Twilio that fails in every way it can."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from convoq.channels.base import Channel, Failure, Outbound, SendFailed, Sent
from convoq.channels.twilio.channel import TwilioChannel
from convoq.clock import WallClock
from convoq.errors import ConfigError
from convoq.loopback.faults import TwilioFault, error, garbage, hang, refused, reset, slow, too_many
from convoq.loopback.messages import TwilioMessage
from convoq.loopback.twilio import LoopbackTwilio
from tests.channels.conftest import settings
from tests.clock import ManualClock

ME, ANA = "whatsapp:+14155238886", "whatsapp:+34600000001"
HELLO = Outbound(reference="m-1", our_address=ME, address=ANA, body="¡Hola! 🙂 1+1=2 & more")
Opener = Callable[..., Awaitable[TwilioChannel]]


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    opened = []

    async def open_channel(url: str, *, public_url: str | None = None, **changes: object) -> TwilioChannel:
        channel = await TwilioChannel.create(settings(url, **changes), public_url=public_url, clock=WallClock())
        opened.append(channel)
        return channel

    yield open_channel
    for channel in opened:
        await channel.close()


@pytest.fixture
async def channel(loopback: LoopbackTwilio, opener: Opener, twilio_timeout: float) -> TwilioChannel:
    return await opener(loopback.url, timeout=twilio_timeout)


async def failure(sending: Awaitable[object]) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        await sending
    return caught.value


# Sending


async def test_a_message_arrives_as_it_was_given(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    contract: Channel = channel
    sent = await contract.send(HELLO)
    message = loopback.messages[0]
    assert (message.sid, message.to, message.from_, message.body) == (sent.provider_id, ANA, ME, HELLO.body)
    assert (message.validity_period, message.messaging_service_sid, message.status_callback) == (3600, None, None)


async def test_the_reference_rides_in_the_status_callback(loopback: LoopbackTwilio, opener: Opener) -> None:
    channel = await opener(loopback.url, public_url="https://bot.example.com")
    await channel.send(Outbound(reference="a/b c", our_address=ME, address=ANA, body="x"))
    assert loopback.messages[0].status_callback == "https://bot.example.com/twilio/status?m=a%2Fb%20c"
    assert loopback.messages[0].reference == "a/b c"


async def test_a_service_sends_from_the_address_that_was_written_to(loopback: LoopbackTwilio, opener: Opener) -> None:
    service = "MG" + "0" * 32
    channel = await opener(loopback.url, messaging_service_sid=service, validity_period=60)
    await channel.send(HELLO)
    message = loopback.messages[0]
    assert (message.messaging_service_sid, message.from_, message.validity_period) == (service, ME, 60)


async def test_an_api_key_comes_before_the_token(opener: Opener) -> None:
    key = "SK" + "0" * 32
    async with LoopbackTwilio(auth_token="another", api_keys={key: "secret"}) as loopback:
        channel = await opener(loopback.url, api_key_sid=key, api_key_secret="secret")
        await channel.send(HELLO)
        assert len(loopback.messages) == 1


NOT_TAKEN = [
    (too_many("7"), Failure.NOT_SENT, "20429", 7.0),
    (too_many(None), Failure.NOT_SENT, "20429", None),
    (refused(21610), Failure.OPTED_OUT, "21610", None),
    (refused(63016), Failure.PERMANENT, "63016", None),
    (refused(21611), Failure.WAIT, "21611", 60.0),
    (refused(20003, 401), Failure.ACCOUNT, "20003", None),
    (refused(99999), Failure.PERMANENT, "99999", None),
    (error(accepted=False), Failure.AMBIGUOUS, "20500", None),
    (error(accepted=False, status=503), Failure.AMBIGUOUS, "20500", None),
    (reset(accepted=False), Failure.AMBIGUOUS, None, None),
    pytest.param(hang(accepted=False), Failure.AMBIGUOUS, None, None, marks=pytest.mark.hangs),
    (garbage(accepted=False), Failure.AMBIGUOUS, None, None),
]


@pytest.mark.parametrize(("fault", "expected", "code", "delay"), NOT_TAKEN)
async def test_what_was_not_taken_fails_by_its_kind(
    channel: TwilioChannel,
    loopback: LoopbackTwilio,
    fault: TwilioFault,
    expected: Failure,
    code: str | None,
    delay: float | None,
) -> None:
    loopback.fault = fault
    failed = await failure(channel.send(HELLO))
    assert (failed.failure, failed.code, failed.delay) == (expected, code, delay)
    assert loopback.requests == 1, "a POST is asked once"
    assert loopback.messages == []


NEVER_OR_LATE = [pytest.param(fault, marks=pytest.mark.hangs) for fault in (hang(), slow(20.0))]


@pytest.mark.parametrize("fault", [error(accepted=True), reset(), garbage(), *NEVER_OR_LATE])
async def test_what_was_taken_is_ambiguous_and_found(
    channel: TwilioChannel, loopback: LoopbackTwilio, fault: TwilioFault
) -> None:
    loopback.fault = fault
    assert (await failure(channel.send(HELLO))).failure is Failure.AMBIGUOUS
    assert loopback.requests == 1, "a POST is asked once"
    found = await channel.find(HELLO, age=lambda: 1)
    assert [sent.provider_id for sent in found] == [loopback.messages[0].sid]


async def test_a_slow_answer_is_an_answer(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    loopback.fault = slow(0.05)
    assert (await channel.send(HELLO)).provider_id == loopback.messages[0].sid


async def test_one_failure_leaves_the_next_send_alone(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    loopback.fail_next(reset())
    await failure(channel.send(HELLO))
    await channel.send(HELLO)
    assert len(loopback.messages) == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": " "}, "21602"),
        ({"body": "x" * 1601}, "21617"),
        ({"address": "nobody:"}, "21211"),
        ({"our_address": "+0"}, "21212"),
    ],
)
async def test_twilio_checks_parameters(channel: TwilioChannel, change: dict[str, Any], code: str) -> None:
    message = Outbound(**{"reference": "m", "our_address": ME, "address": ANA, "body": "x", **change})
    failed = await failure(channel.send(message))
    assert (failed.failure, failed.code) == (Failure.PERMANENT, code)


async def test_text_that_is_no_unicode_is_never_sent(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    failed = await failure(channel.send(Outbound(reference="m", our_address=ME, address=ANA, body="\ud800")))
    assert failed.failure is Failure.PERMANENT
    assert loopback.requests == 0


async def test_nobody_listening_is_certainly_not_sent(opener: Opener) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        channel = await opener(f"http://127.0.0.1:{free.getsockname()[1]}")
        assert (await failure(channel.send(HELLO))).failure is Failure.NOT_SENT


async def test_a_failed_handshake_is_certainly_not_sent(loopback: LoopbackTwilio, opener: Opener) -> None:
    channel = await opener(loopback.url.replace("http:", "https:"))
    assert (await failure(channel.send(HELLO))).failure is Failure.NOT_SENT


async def test_an_unknown_host_is_certainly_not_sent(opener: Opener) -> None:
    channel = await opener("https://nowhere.invalid")
    assert (await failure(channel.send(HELLO))).failure is Failure.NOT_SENT


async def test_cancelling_passes_through(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    loopback.fault = hang()
    sending = asyncio.create_task(channel.send(HELLO))
    await loopback.wait_for_messages(1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


# Answers that only something else than Twilio gives


@asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def problem(status: int, code: int) -> str:
    return f'{{"type": "https://x", "title": "No", "detail": "why", "status": {status}, "code": {code}}}'


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (201, "", Failure.AMBIGUOUS, None),
        (201, "[]", Failure.AMBIGUOUS, None),
        (201, "{}", Failure.AMBIGUOUS, None),
        (201, '{"sid": 5}', Failure.AMBIGUOUS, None),
        (201, '{"sid": "SMx", "date_created": 7}', Failure.AMBIGUOUS, None),
        (201, '{"sid": "' + "x" * 2_000_000 + '"}', Failure.AMBIGUOUS, None),
        (302, "{}", Failure.AMBIGUOUS, None),
        (400, "", Failure.PERMANENT, "400"),
        (400, "[1]", Failure.PERMANENT, "400"),
        (400, problem(400, 21610), Failure.OPTED_OUT, "21610"),
        (429, "<html>", Failure.NOT_SENT, "429"),
        (502, "<html>", Failure.AMBIGUOUS, "502"),
        (401, '{"code": "20003"}', Failure.ACCOUNT, "401"),
    ],
)
async def test_any_answer_has_a_meaning(
    opener: Opener, status: int, body: str, expected: Failure, code: str | None
) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"})

    async with answering(answer) as url:
        failed = await failure((await opener(url)).send(HELLO))
    assert (failed.failure, failed.code) == (expected, code)
    assert asked == ["POST"]


async def test_a_dripping_answer_ends_with_the_total_timeout(opener: Opener) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)  # the pace of the drip

    async with answering(drip) as url:
        failed = await failure((await opener(url, timeout=0.3)).send(HELLO))
    assert failed.failure is Failure.AMBIGUOUS


# Finding


async def test_finding_matches_addresses_and_text(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    first = await channel.send(HELLO)
    for change in ({"body": "else"}, {"address": "whatsapp:+34600000002"}, {"our_address": "whatsapp:+15550000000"}):
        fields: dict[str, Any] = {"reference": "m-2", "our_address": ME, "address": ANA, "body": HELLO.body, **change}
        await channel.send(Outbound(**fields))
    second = await channel.send(HELLO)
    loopback.messages[-1].status = "failed"
    assert await channel.find(HELLO, age=lambda: 10) == [first, second]


async def test_finding_forgives_trimmed_edges(channel: TwilioChannel) -> None:
    sent = await channel.send(HELLO)
    padded = Outbound(reference="m-1", our_address=ME, address=ANA, body=f"{HELLO.body} \n")
    assert await channel.find(padded, age=lambda: 10) == [sent]


@pytest.mark.parametrize(
    ("ours", "twilios"),
    [
        ("It’s “open” – come in…", 'It\'s "open" - come in...'),
        ("Your café is at https://example.com/a/very/long/path ok", "Your cafe is at https://twl.io/x ok so"),
        ("https://example.com/menu/2026", "https://twil.io/abc"),
        ("Menu: example.com/menu/2026", "Menu: twil.io/q1"),
        ("œuvre", "oeuvre"),
        ("a text that is redacted at Twilio", ""),
    ],
)
async def test_finding_knows_a_text_that_twilio_has_rewritten(
    channel: TwilioChannel, loopback: LoopbackTwilio, ours: str, twilios: str
) -> None:
    message = Outbound(reference="m-1", our_address=ME, address=ANA, body=ours)
    sent = await channel.send(message)
    loopback.messages[-1].body = twilios
    assert await channel.find(message, age=lambda: 10) == [sent]


async def test_finding_prefers_the_same_text_to_a_rewritten_one(
    channel: TwilioChannel, loopback: LoopbackTwilio
) -> None:
    message = Outbound(reference="m-1", our_address=ME, address=ANA, body="We are open until six today")
    rewritten = recorded(loopback, "We are open until seven today", age=1)
    loopback.messages.append(rewritten)
    same = await channel.send(message)
    assert await channel.find(message, age=lambda: 10) == [same, Sent(rewritten.sid)]


@pytest.mark.parametrize(("age", "found"), [(0, True), (9, True), (14, False), (3600, False)])
@pytest.mark.parametrize("skew", [-86_400, 0, 86_400])
async def test_finding_goes_by_twilios_clock(opener: Opener, skew: int, age: int, found: bool) -> None:
    clock = ManualClock(WallClock().now() + skew * 1000)
    async with LoopbackTwilio(clock=clock) as loopback:
        channel = await opener(loopback.url)
        sent = await channel.send(HELLO)
        clock.advance(age)
        assert await channel.find(HELLO, age=lambda: 10) == ([sent] if found else [])


async def test_finding_turns_pages(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    wanted = await channel.send(HELLO)
    loopback.messages += [recorded(loopback, "noise", age=0) for _ in range(120)]
    assert await channel.find(HELLO, age=lambda: 10) == [wanted]


async def test_finding_stops_at_what_is_older(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    loopback.messages += [recorded(loopback, HELLO.body, age=60) for _ in range(120)]
    assert await channel.find(HELLO, age=lambda: 10) == []
    assert loopback.reads == 1


async def test_finding_ignores_what_the_person_wrote(channel: TwilioChannel, loopback: LoopbackTwilio) -> None:
    await loopback.deliver("http://127.0.0.1:9/nobody", from_=ME, to=ANA, body=HELLO.body)
    assert await channel.find(HELLO, age=lambda: 10) == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (TwilioFault(accepts=False, answer="error", status=503, on="read"), Failure.AMBIGUOUS),
        (TwilioFault(accepts=False, answer="error", status=401, code=20003, on="read"), Failure.ACCOUNT),
        (TwilioFault(accepts=False, answer="garbage", status=200, on="read"), Failure.AMBIGUOUS),
        pytest.param(TwilioFault(accepts=False, answer="hang", on="read"), Failure.AMBIGUOUS, marks=pytest.mark.hangs),
        (TwilioFault(accepts=False, answer="reset", on="read"), Failure.AMBIGUOUS),
    ],
)
async def test_finding_says_when_it_cannot_look(
    channel: TwilioChannel, loopback: LoopbackTwilio, fault: TwilioFault, expected: Failure
) -> None:
    loopback.fault = fault
    assert (await failure(channel.find(HELLO, age=lambda: 1))).failure is expected


@pytest.mark.parametrize("body", ["{}", '{"messages": [1]}', '{"messages": [{"sid": "x"}]}', '{"a": [], "b": []}'])
async def test_finding_does_not_trust_a_strange_list(opener: Opener, body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    async with answering(answer) as url:
        failed = await failure((await opener(url)).find(HELLO, age=lambda: 1))
    assert failed.failure is Failure.AMBIGUOUS


def recorded(loopback: LoopbackTwilio, body: str, *, age: int) -> TwilioMessage:
    created = WallClock().now() - age * 1000
    return TwilioMessage(sid=loopback.new_sid(), to=ANA, from_=ME, body=body, created=created)


# Starting


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account_sid": None}, "account_sid is missing"),
        ({"auth_token": None}, "auth_token is missing"),
        ({"api_key_sid": "SK" + "0" * 32}, "go together"),
        ({"api_key_secret": "x"}, "go together"),
        ({"api_base_url": "http://api.example.com"}, "https"),
        ({"api_base_url": "nonsense"}, "https"),
    ],
)
async def test_settings_that_cannot_send_are_refused(opener: Opener, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await opener(**{"url": "https://api.twilio.com", **_as_url(changes)})


def _as_url(changes: dict[str, object]) -> dict[str, object]:
    return {("url" if name == "api_base_url" else name): value for name, value in changes.items()}


async def test_the_environment_moves_no_request(
    loopback: LoopbackTwilio, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    await (await opener(loopback.url)).send(HELLO)
    assert len(loopback.messages) == 1


async def test_secrets_do_not_show(opener: Opener) -> None:
    channel = await opener("https://api.twilio.com", auth_token=SecretStr("hush"))
    assert "hush" not in f"{channel!r}{vars(channel)}"


def test_what_the_webhook_needs_loads_without_the_sdk() -> None:
    code = (
        "import sys, convoq.channels.twilio.webhooks;"
        "sys.exit(any(name in sys.modules for name in ('twilio', 'aiohttp', 'regex', 'requests')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
