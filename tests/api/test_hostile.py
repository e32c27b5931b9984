"""What any client may send: nothing of it is enqueued, answered with a 5xx, or worth a traceback."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import random
from urllib.parse import urlencode

import pytest

from convoq.api.connections import Limits
from convoq.channels.twilio.signature import sign
from convoq.channels.twilio.webhooks import INBOUND_PATH, STATUS_PATH
from tests.api.conftest import Events
from tests.api.harness import (
    MESSAGE,
    PUBLIC_URL,
    TOKEN,
    ApiServer,
    Pairs,
    message,
    request,
    running,
    signed,
    status,
    webhook,
)

FORM = urlencode(message()).encode()
OTHER = "SM" + "c3" * 16


def body_of(pairs: Pairs) -> bytes:
    return urlencode(pairs).encode()


def replaced(name: str, value: str) -> Pairs:
    return [(key, value if key == name else old) for key, old in message()]


def without(name: str) -> Pairs:
    return [pair for pair in message() if pair[0] != name]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(request(FORM), id="missing"),
        pytest.param(request(FORM, signature=""), id="empty"),
        pytest.param(request(FORM, signature="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), id="guessed"),
        pytest.param(request(FORM, signature=signed(message("Hi"))), id="of another message"),
        pytest.param(request(FORM, signature=signed(message(), STATUS_PATH)), id="of another path"),
        pytest.param(request(FORM, signature=signed(message()) + "="), id="longer"),
        pytest.param(request(FORM, signature="Ä" * 28), id="UTF-8"),
        pytest.param(request(FORM, signature=b"\xff" * 28), id="raw bytes"),
        pytest.param(request(FORM, path=INBOUND_PATH + "?", signature=signed(message())), id="with a bare ?"),
        pytest.param(request(b"", signature=signed(message())), id="without a body"),
        pytest.param(
            request(
                FORM, signature=signed(message()), headers=[b"X-Twilio-Webhooks-Signature-Settings: algorithm=MD5"]
            ),
            id="by an unknown algorithm",
        ),
    ],
)
async def test_forged_message_is_403(raw: bytes, api: ApiServer) -> None:
    assert (await api.ask(raw)).status == 403
    assert api.queue.jobs == []


@pytest.mark.parametrize(
    "path",
    [
        INBOUND_PATH + "?m=%ff%00",
        PUBLIC_URL + INBOUND_PATH,
        INBOUND_PATH + "?" + "a=b&" * 999,
    ],
)
async def test_forged_message_to_an_odd_url_is_403(path: str, api: ApiServer) -> None:
    raw = request(FORM, path=path, signature=signed(message()))
    assert (await api.ask(raw)).status == 403


async def test_forgery_is_logged_with_the_url_that_was_verified_and_nothing_secret(
    api: ApiServer, events: Events
) -> None:
    forged = signed(message("Hi"))
    await api.ask(request(FORM, path=INBOUND_PATH + "?a=b", signature=forged))
    (event,) = events
    assert (event["event"], event["url"]) == ("webhook.forged", f"{PUBLIC_URL}{INBOUND_PATH}?a=b")
    assert not any(secret in repr(event) for secret in (forged, TOKEN, "Hello", "+34600000001"))


async def test_a_sub_accounts_webhook_is_403_and_the_log_says_what_it_needs(api: ApiServer, events: Events) -> None:
    fields = [(name, "AC" + "9" * 32 if name == "AccountSid" else value) for name, value in message()]
    theirs = sign("the sub-account's own token", PUBLIC_URL + INBOUND_PATH, fields)
    assert (await api.ask(request(urlencode(fields).encode(), signature=theirs))).status == 403
    assert "a sub-account needs a convoq of its own" in events[0]["reason"]


async def test_flood_of_forgeries_does_not_flood_the_log(api: ApiServer, events: Events) -> None:
    for number in range(50):
        await api.ask(request(FORM, signature="forged", path=f"{INBOUND_PATH}?{'x' * number * 100}"))
    assert 1 <= len(events) <= 10
    assert all(len(repr(event)) < 400 for event in events)


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(without("MessageSid"), id="no MessageSid"),
        pytest.param(without("From"), id="no From"),
        pytest.param([], id="nothing"),
        pytest.param(replaced("MessageSid", MESSAGE + "0"), id="long MessageSid"),
        pytest.param(replaced("AccountSid", "AC" + "9" * 32), id="another account"),
        pytest.param(replaced("From", "whatsapp:+34600000001Body"), id="swallowed name"),
        pytest.param(replaced("NumMedia", "abc"), id="NumMedia"),
        pytest.param([*message(), ("From", "whatsapp:+34600000002")], id="From twice"),
        pytest.param([*message(), ("MessageSid", OTHER)], id="MessageSid twice"),
        pytest.param(status(), id="a status"),
    ],
)
async def test_signed_nonsense_is_400(pairs: Pairs, api: ApiServer) -> None:
    assert (await api.ask(webhook(pairs))).status == 400
    assert api.queue.jobs == []


async def test_reshaped_message_is_not_a_new_one(api: ApiServer) -> None:
    # Both forms are the same characters once glued together, so one signature fits both.
    captured = [*without("SmsMessageSid"), ("MessageType", "text")]
    reshaped = [pair for pair in captured if pair[0] not in ("MessageSid", "MessageType")]
    reshaped.append(("MessageSid", f"{MESSAGE}MessageTypetext"))
    assert signed(captured) == signed(reshaped)
    reply = await api.ask(request(body_of(reshaped), signature=signed(captured)))
    assert reply.status == 400
    assert api.queue.jobs == []


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        (None, []),
        ("", []),
        ("text/plain", []),
        ("multipart/form-data", []),
        ("multipart/form-data; boundary=x", []),
        ("application/x-www-form-urlencoded; charset=bogus", []),
        ("application/x-www-form-urlencoded; charset=utf-16", []),
        ("application/x-www-form-urlencoded; charset=\xff", []),
        ("application/x-www-form-urlencoded; boundary", []),
        ("application/x-www-form-urlencoded", [b"Content-Encoding: gzip"]),
        ("application/x-www-form-urlencoded", [b"Content-Encoding: br, gzip"]),
        ("application/json; charset=latin-1", []),
    ],
)
async def test_other_kinds_of_body_are_415(content_type: str | None, headers: list[bytes], api: ApiServer) -> None:
    raw = request(FORM, content_type=content_type, headers=headers, signature=signed(message()))
    assert (await api.ask(raw)).status == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-URLencoded;Charset=UTF-8",
        ' application/x-www-form-urlencoded ; charset="utf-8" ; ',
    ],
)
async def test_spellings_of_a_form_in_utf8_are_accepted(content_type: str, api: ApiServer) -> None:
    assert (await api.ask(request(FORM, content_type=content_type, signature=signed(message())))).status == 200


async def test_gzip_bomb_is_not_unpacked(api: ApiServer) -> None:
    bomb = gzip.compress(b"Body=" + b"x" * 40_000_000)
    assert len(bomb) < 65_536
    assert (await api.ask(request(bomb, headers=[b"Content-Encoding: gzip"]))).status == 415


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"Body=\xff\xfe", id="raw bytes"),
        pytest.param(b"Body=%ff%fe", id="escaped bytes"),
        pytest.param(b"Body=%ED%A0%80", id="lone surrogate"),
        pytest.param(b"a=1&" * 100, id="101 fields"),
        pytest.param(b"a&" * 30_000, id="30,000 fields"),
        pytest.param(b"=&" * 30_000, id="nameless fields"),
    ],
)
async def test_body_that_is_no_form_in_utf8_is_400(body: bytes, api: ApiServer) -> None:
    assert (await api.ask(request(body, signature="x"))).status == 400


@pytest.mark.parametrize("size", [65_537, 2_000_000])
async def test_oversized_body_is_413(size: int, api: ApiServer) -> None:
    assert (await api.ask(request(b"Body=" + b"x" * (size - 5)))).status == 413


async def test_body_of_100000_fields_is_413(api: ApiServer) -> None:
    assert (await api.ask(request(b"a=b&" * 100_000))).status == 413


async def test_oversized_body_in_chunks_is_413(api: ApiServer) -> None:
    head = request(b"", headers=[b"Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"")
    chunks = (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 5
    assert (await api.ask(head + chunks)).status == 413


async def test_message_in_chunks_is_accepted(api: ApiServer) -> None:
    head = request(b"", headers=[b"Transfer-Encoding: chunked"], signature=signed(message()))
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in FORM)
    assert (await api.ask(head.replace(b"Content-Length: 0\r\n", b"") + chunks + b"0\r\n\r\n")).status == 200


async def test_body_that_comes_too_slowly_is_408() -> None:
    async with running(limits=Limits(body_time=0.1, linger_time=0.1)) as api, api.client() as client:
        await client.send(webhook(message())[:-10])
        assert (await client.reply()).status == 408
        assert await client.closed()


async def test_body_that_ends_early_is_no_trouble(api: ApiServer) -> None:
    async with api.client() as client:
        await client.send(webhook(message())[:-10])
        client.writer.write_eof()
        assert await client.closed()
    assert api.queue.jobs == []


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nabcdefgh\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n"])
@pytest.mark.parametrize("path", [INBOUND_PATH, "/elsewhere"])
async def test_broken_chunks_are_400(chunks: bytes, path: str, api: ApiServer) -> None:
    head = request(b"", path=path, headers=[b"Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"")
    async with api.client() as client:
        await client.send(head + b"1\r\na\r\n")
        await asyncio.sleep(0)  # two packets: the body breaks under a handler that is reading it, or has answered
        await client.send(chunks)
        assert (await client.reply()).status in (400, 404)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{",
        b"\xff",
        b"[[1]]",
        b'[["a", "b", "c"]]',
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": "a"}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"a": ' + b"9" * 60_000 + b"}",
        json.dumps({str(number): "" for number in range(101)}).encode(),
    ],
)
async def test_json_that_is_no_flat_object_is_400(body: bytes, api: ApiServer) -> None:
    path = f"{INBOUND_PATH}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    raw = request(body, path=path, content_type="application/json", signature=signed([], path))
    assert (await api.ask(raw)).status == 400


@pytest.mark.parametrize("query", ["", "?bodySHA256=", "?bodySHA256=" + "0" * 64, "?bodySHA256=%ff", "?" + "a&" * 2000])
async def test_json_whose_hash_is_not_signed_is_403(query: str, api: ApiServer) -> None:
    body, path = json.dumps(dict(message())).encode(), INBOUND_PATH + query
    raw = request(body, path=path, content_type="application/json", signature=signed([], path))
    assert (await api.ask(raw)).status == 403


async def test_json_signature_does_not_fit_a_form(api: ApiServer) -> None:
    body = json.dumps(dict(message())).encode()
    path = f"{INBOUND_PATH}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    assert (await api.ask(request(FORM, path=path, signature=signed([], path)))).status == 403


async def test_json_with_a_name_twice_is_400(api: ApiServer) -> None:
    body = json.dumps(dict(message())).encode().replace(b'"To"', b'"From": "whatsapp:+1", "To"')
    path = f"{INBOUND_PATH}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    raw = request(body, path=path, content_type="application/json", signature=signed([], path))
    assert (await api.ask(raw)).status == 400


@pytest.mark.parametrize("host", [b"x:99999", b"[", b"[::1", b"", b"\xff\xfe", b"a b", b"user@evil", b"x" * 8000])
async def test_host_header_does_not_matter(host: bytes, api: ApiServer) -> None:
    raw = webhook(message()).replace(b"Host: bot.example.com", b"Host: " + host)
    assert (await api.ask(raw)).status in (200, 400)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", [INBOUND_PATH, STATUS_PATH])
async def test_other_methods_are_405(method: str, path: str, api: ApiServer) -> None:
    reply = await api.ask(request(b"", method=method, path=path, content_type=None), bodiless=method == "HEAD")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/", "/twilio", "/twilio/inbound/", "//twilio/inbound", "/../etc/passwd", "/%00", "*", "/\xff", "/%zz"]
)
async def test_other_paths_are_404(path: str, api: ApiServer) -> None:
    reply = await api.ask(request(b"", path=path))
    assert reply.status == (400 if path in ("*", "/\xff") else 404)
    assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"hello\r\n\r\n", id="text"),
        pytest.param(b"GET\r\n\r\n", id="half a request line"),
        pytest.param(b"POST /twilio/inbound HTTP/9.9\r\nHost: x\r\n\r\n", id="version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost x\r\n\r\n", id="header without a colon"),
        pytest.param(b"GET / HTTP/1.1\r\nA\x00B: x\r\n\r\n", id="NUL in a header's name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", id="long line"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", id="500 headers"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"b" * 9000 + b"\r\n\r\n", id="long header"),
        pytest.param(request(b"", headers=[b"Content-Length: 5"]), id="two lengths"),
        pytest.param(request(b"", headers=[b"Transfer-Encoding: chunked"]), id="length and chunks"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1e9\r\n\r\n", id="odd length"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", id="transfer encoding"),
        pytest.param(b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", id="broken URL"),
        pytest.param(b"GET http://x:99999/ HTTP/1.1\r\nHost: x\r\n\r\n", id="URL with a port beyond ports"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", id="CONNECT"),
    ],
)
async def test_what_is_hardly_http_gets_a_plain_4xx(raw: bytes, api: ApiServer) -> None:
    reply = await api.ask(raw)
    assert 400 <= reply.status < 500
    assert reply.headers["content-type"].startswith("text/plain")


async def test_damaged_requests_get_a_4xx_or_none() -> None:
    damage = random.Random(7)
    async with running(limits=Limits(body_time=0.05, linger_time=0.05)) as api:
        replies = await asyncio.gather(*(api.ask(damaged(webhook(message()), damage)) for _ in range(300)))
        assert {reply.status // 100 for reply in replies} <= {2, 4}
        assert (await api.ask(webhook(message()))).status == 200
        assert len(api.queue.jobs) == 1


def damaged(raw: bytes, damage: random.Random) -> bytes:
    """The request with a few bytes changed, added or lost, and an end, so that a reply is due."""
    text = bytearray(raw)
    for _ in range(damage.randint(1, 4)):
        at = damage.randrange(len(text))
        text[at : at + damage.randint(0, 2)] = damage.randbytes(damage.randint(0, 3))
    return bytes(text) + b"\r\n\r\n\r\n"


async def test_unknown_expectation_is_417(api: ApiServer) -> None:
    assert (await api.ask(webhook(message(), headers=[b"Expect: miracles"]))).status == 417


async def test_client_that_waits_for_100_continue_is_served(api: ApiServer) -> None:
    raw = webhook(message(), headers=[b"Expect: 100-continue"])
    head, _, body = raw.partition(b"\r\n\r\n")
    async with api.client() as client:
        await client.send(head + b"\r\n\r\n")
        assert (await client.reply()).status == 100
        await client.send(body)
        assert (await client.reply()).status == 200


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"\xff"])
async def test_offer_to_upgrade_is_no_trouble(protocol: bytes, api: ApiServer) -> None:
    headers = [b"Connection: Upgrade", b"Upgrade: " + protocol]
    assert (await api.ask(webhook(message(), headers=headers))).status in (200, 400, 403)


async def test_http_1_0_is_answered_and_closed(api: ApiServer) -> None:
    async with api.client() as client:
        await client.send(webhook(message(), version="HTTP/1.0"))
        assert (await client.reply()).status == 200
        assert await client.closed()


async def test_pipelined_messages_are_answered_in_order(api: ApiServer) -> None:
    good, bad = webhook(message()), request(FORM, signature="forged")
    async with api.client() as client:
        await client.send(good + bad + request(b"", path="/") + good)
        assert [(await client.reply()).status for _ in range(4)] == [200, 403, 404, 200]
    assert len(api.queue.jobs) == 1


async def test_client_that_leaves_before_the_answer_is_no_trouble(api: ApiServer) -> None:
    api.queue.released.clear()
    client = await api.connect()
    await client.send(webhook(message()))
    await api.queue.entered.wait()
    await client.close()
    api.queue.released.set()
    assert (await api.ask(webhook(message()))).status == 200
    assert len(api.queue.jobs) == 1
