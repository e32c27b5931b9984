"""Hostile clients send what they like to a running serve: all of it is refused, and no other client notices."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from urllib.parse import urlencode

from convoq.channels.twilio.signature import sign
from convoq.channels.twilio.webhooks import INBOUND_PATH
from tests.fire.audit import settle
from tests.fire.crowd import Crowd
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site

FORM = "application/x-www-form-urlencoded; charset=UTF-8"
ATTACKERS = 16
SLOW = 60  # connections that never finish what they begin
GROWTH = 48.0  # MB that serve may grow by
CUT_OFF_TIMEOUT = 25.0  # seconds until the slowest of all is cut off
Attack = tuple[str, bytes, frozenset[int]]


async def storm(plan: Plan) -> Section:
    section = Section(
        "storm", "forged, replayed, reshaped, oversized, slow and broken webhooks against a running serve"
    )
    async with open_site(plan.directory, engine=plan.engine) as site:
        crowd = Crowd(site, plan.rng, size=6, think=0.5)
        serve = site.roles["serve"]
        plan.begin()
        async with crowd.writing():
            await plan.wait(1.0)
            before = serve.rss_mb
            slow = [asyncio.create_task(_dawdle(plan, site, section, n)) for n in range(SLOW)]
            attackers = (_attack(plan, site, section, random.Random(plan.rng.random())) for _ in range(ATTACKERS))
            await asyncio.gather(*attackers)
            section.worst("serve's memory before, MB", before)
            section.worst("serve's memory after, MB", serve.rss_mb)
            await asyncio.gather(*slow)
        section.expect(serve.rss_mb - before < GROWTH, f"serve grew from {before:.0f} to {serve.rss_mb:.0f} MB")
        section.expect(serve.starts == 1, "serve was replaced")
        section.counts = Counter(dict(sorted(section.counts.items(), key=_total_first)))
        await settle(site, crowd, section)
    return section


def _total_first(count: tuple[str, int]) -> tuple[bool, str]:
    return count[0].startswith(" "), count[0]


async def _attack(plan: Plan, site: Site, section: Section, rng: random.Random) -> None:
    while plan.left() > 0:
        for name, raw, allowed in attacks(site, rng):
            status = await _ask(site, raw)
            section.count("hostile requests")
            section.count(f"  {name}: {status or 'cut'}")
            section.expect(status in allowed or status is None, f"{name} was answered {status}")
            if plan.left() <= 0:
                return
        plan.doing(f"{section.counts['hostile requests']} requests")


def attacks(site: Site, rng: random.Random) -> Iterator[Attack]:
    """Every kind once, in an order of its own."""
    kinds: list[Callable[[Site, random.Random], Attack]] = [
        _forged, _unsigned, _of_another, _reshaped, _oversized, _wrong_charset, _raw_bytes, _many_fields, _bare_json,
        _hashed_json_as_form, _odd_host, _doubled_name, _other_type, _noise, _wrong_method, _odd_path, _bad_chunks,
    ]  # fmt: skip
    rng.shuffle(kinds)
    return (kind(site, rng) for kind in kinds)


def _message(site: Site, rng: random.Random) -> list[tuple[str, str]]:
    sid = "SM" + rng.randbytes(16).hex()
    return site.twilio.inbound_form(from_="whatsapp:+15551009999", to="whatsapp:+15550009999", body="boo", sid=sid)


def _request(
    site: Site, body: bytes, *, signature: str | bytes | None, path: str = INBOUND_PATH, content_type: str = FORM,
    method: str = "POST", host: bytes | None = None, more: bytes = b"", length: int | None = None,
) -> bytes:  # fmt: skip
    lines = [
        f"{method} {path} HTTP/1.1".encode("utf-8", "surrogateescape"),
        b"Host: " + (host if host is not None else f"127.0.0.1:{site.port}".encode()),
        b"Content-Type: " + content_type.encode("latin-1"),
        b"Connection: close",
    ]
    if signature is not None:
        lines.append(b"X-Twilio-Signature: " + (signature if isinstance(signature, bytes) else signature.encode()))
    if more:
        lines.append(more)
    if b"chunked" not in more:
        lines.append(b"Content-Length: %d" % (len(body) if length is None else length))
    return b"\r\n".join([*lines, b"", body])


def _signed(site: Site, form: list[tuple[str, str]], url: str | None = None) -> str:
    return sign(site.twilio.auth_token, url or site.webhook, form)


def _forged(site: Site, rng: random.Random) -> Attack:
    body = urlencode(_message(site, rng)).encode()
    return "forged signature", _request(site, body, signature=rng.randbytes(20).hex()), frozenset({403})


def _unsigned(site: Site, rng: random.Random) -> Attack:
    return "no signature", _request(site, urlencode(_message(site, rng)).encode(), signature=None), frozenset({403})


def _of_another(site: Site, rng: random.Random) -> Attack:
    signature = _signed(site, _message(site, rng))
    body = urlencode(_message(site, rng)).encode()
    return "another message's signature", _request(site, body, signature=signature), frozenset({403})


def _reshaped(site: Site, rng: random.Random) -> Attack:
    """Twilio signs an undelimited string, so this is signed too, and would be a new message."""
    form = [pair for pair in _message(site, rng) if pair[0] != "SmsMessageSid"]
    sid = dict(form)["MessageSid"]
    kind = dict(form)["MessageType"]
    signature = _signed(site, form)
    reshaped = [pair for pair in form if pair[0] not in ("MessageSid", "MessageType")]
    reshaped.append(("MessageSid", f"{sid}MessageType{kind}"))
    return "reshaped", _request(site, urlencode(reshaped).encode(), signature=signature), frozenset({400, 403})


def _oversized(site: Site, rng: random.Random) -> Attack:
    form = [*_message(site, rng), ("Extra", "x" * rng.choice((70_000, 500_000, 2_000_000)))]
    return "oversized", _request(site, urlencode(form).encode(), signature=_signed(site, form)), frozenset({413})


def _wrong_charset(site: Site, rng: random.Random) -> Attack:
    form = _message(site, rng)
    kind = f"application/x-www-form-urlencoded; charset={rng.choice(('utf-16', 'bogus', 'latin-1', 'ÿ'))}"
    body = urlencode(form).encode()
    return (
        "wrong charset",
        _request(site, body, signature=_signed(site, form), content_type=kind),
        frozenset({415, 400}),
    )


def _raw_bytes(site: Site, rng: random.Random) -> Attack:
    body = b"Body=" + rng.randbytes(rng.choice((1, 100, 60_000)))
    signature = rng.randbytes(28).replace(b"\r", b"x").replace(b"\n", b"x").replace(b"\0", b"x")
    return "raw bytes", _request(site, body, signature=signature), frozenset({400, 403})


def _many_fields(site: Site, rng: random.Random) -> Attack:
    count = rng.choice((101, 15_000, 100_000))
    return "many fields", _request(site, b"a=b&" * count, signature="x"), frozenset({400, 413})


def _bare_json(site: Site, rng: random.Random) -> Attack:
    body = json.dumps(dict(_message(site, rng))).encode()
    raw = _request(site, body, signature=_signed(site, []), content_type="application/json")
    return "JSON without its hash", raw, frozenset({403})


def _hashed_json_as_form(site: Site, rng: random.Random) -> Attack:
    path = f"{INBOUND_PATH}?bodySHA256={rng.randbytes(32).hex()}"
    signature = _signed(site, [], f"http://127.0.0.1:{site.port}{path}")
    body = urlencode(_message(site, rng)).encode()
    return "JSON's signature on a form", _request(site, body, signature=signature, path=path), frozenset({403})


def _odd_host(site: Site, rng: random.Random) -> Attack:
    host = rng.choice((b"x:99999", b"[", b"[::1", b"", b"a b", b"\xff\xfe", b"evil.example.com", b"x" * 5000))
    raw = _request(site, urlencode(_message(site, rng)).encode(), signature="x", host=host)
    return "odd Host", raw, frozenset({400, 403})


def _doubled_name(site: Site, rng: random.Random) -> Attack:
    form = _message(site, rng)
    name = rng.choice(("From", "To", "MessageSid", "AccountSid"))
    form.append((name, rng.choice((dict(form)[name], "whatsapp:+15551009998"))))
    raw = _request(site, urlencode(form).encode(), signature=_signed(site, form))
    return "a name twice", raw, frozenset({400, 403})


def _other_type(site: Site, rng: random.Random) -> Attack:
    kind = rng.choice(("text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "a/b", ""))
    raw = _request(site, urlencode(_message(site, rng)).encode(), signature="x", content_type=kind)
    return "another type", raw, frozenset({415, 400})


def _noise(site: Site, rng: random.Random) -> Attack:
    return "noise", rng.randbytes(rng.randrange(1, 4000)) + b"\r\n\r\n", frozenset({400})


def _wrong_method(site: Site, rng: random.Random) -> Attack:
    method = rng.choice(("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "BREW"))
    return "wrong method", _request(site, b"", signature="x", method=method), frozenset({400, 405})


def _odd_path(site: Site, rng: random.Random) -> Attack:
    path = rng.choice(
        (
            "//x/../y?",
            INBOUND_PATH + "/",
            INBOUND_PATH + "?" + "a=b&" * 1500,
            "/%ff%00",
            "*",
            "http://[/",
            "/" + "a" * 20_000,
        )
    )
    return "odd path", _request(site, b"a=b", signature="x", path=path), frozenset({400, 403, 404})


def _bad_chunks(site: Site, rng: random.Random) -> Attack:
    body = rng.choice((b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"ffffffffffffffffff\r\n", b"-1\r\n\r\n"))
    raw = _request(site, body, signature="x", more=b"Transfer-Encoding: chunked")
    return "bad chunks", raw, frozenset({400, 408})


async def _ask(site: Site, raw: bytes) -> int | None:
    """The status that the bytes were answered with; None: the connection was ended instead."""
    with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(CUT_OFF_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            try:
                writer.write(raw)
                line = await reader.readline()
                return int(line.split()[1]) if line.startswith(b"HTTP/") else None
            finally:
                writer.transport.abort()
    return None


async def _dawdle(plan: Plan, site: Site, section: Section, number: int) -> None:
    """A connection that says nothing, half a head, or a body byte by byte; in the end the server ends it."""
    head = _request(site, b"", signature="x", length=1000)
    began = monotonic()
    said = (b"", head[:60], head)[number % 3]
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(CUT_OFF_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            try:
                writer.write(said)
                while not reader.at_eof():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1000), 0.5)
                    if number % 3 == 2:
                        writer.write(b"x")
            finally:
                writer.transport.abort()
    section.time("a slow connection is cut after", monotonic() - began)
    section.expect(monotonic() - began < CUT_OFF_TIMEOUT - 1, "a slow connection was never cut")
