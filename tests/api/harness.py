"""A webhook server on a real socket, the queue's port behind it, and a client that may send any bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

from pydantic import SecretStr

from convoq.api.app import create_app
from convoq.api.connections import Limits
from convoq.api.server import RunningServer, serve
from convoq.channels.base import Webhook
from convoq.channels.twilio.signature import sign
from convoq.channels.twilio.webhooks import INBOUND_PATH, STATUS_PATH
from convoq.channels.twilio.webhooks import webhooks as twilio_webhooks
from convoq.jobs import NewJob
from convoq.queue.base import Enqueued, Enqueuer
from convoq.settings import ServerSettings, TwilioSettings

ACCOUNT = "AC" + "a1" * 16
TOKEN = "0123456789abcdef0123456789abcdef"
PUBLIC_URL = "https://bot.example.com"
MESSAGE = "SM" + "b2" * 16

Pairs = list[tuple[str, str]]


class MemoryQueue:
    """The producer's side of a queue: keeps jobs and knows duplicates. What it is told to raise, it raises."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.keys: set[str] = set()
        self.error: Exception | None = None
        self.hangs = False
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def enqueue(self, job: NewJob) -> Enqueued:
        self.entered.set()
        await self.released.wait()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        if job.dedup_key in self.keys:
            return Enqueued("1", duplicate=True)
        self.keys.add(job.dedup_key or "")
        self.jobs.append(job)
        return Enqueued("1", duplicate=False)


@dataclass
class FakeReadiness:
    """Readiness as a test sets it."""

    accepting: bool = True
    problems: list[str] = field(default_factory=list)
    error: Exception | None = None
    asked: int = 0

    def accepts(self) -> bool:
        return self.accepting

    async def reasons(self) -> list[str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.problems


@dataclass
class Reply:
    """One HTTP response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self, *, bodiless: bool = False) -> Reply:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            length = 0 if bodiless else int(headers.get("content-length", "0"))
            return Reply(int(head[0].split(" ")[1]), headers, await self.reader.readexactly(length))

    async def closed(self) -> bool:
        """Whether the server ends the connection without another byte; waits for it."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def ended(self) -> None:
        """Returns once the server has ended the connection, whatever it said before."""
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                await self.reader.read()

    async def close(self) -> None:
        self.writer.transport.abort()


@dataclass
class ApiServer:
    """A running server with what stands behind it."""

    server: RunningServer
    queue: MemoryQueue
    readiness: FakeReadiness

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = await self.connect()
        try:
            yield client
        finally:
            await client.close()

    async def connect(self) -> Client:
        assert self.server.port is not None
        return Client(*await asyncio.open_connection("127.0.0.1", self.server.port))

    async def ask(self, raw: bytes, *, bodiless: bool = False) -> Reply:
        """One request on a connection of its own."""
        async with self.client() as client:
            await client.send(raw)
            return await client.reply(bodiless=bodiless)


@asynccontextmanager
async def running(
    *,
    webhooks: Sequence[Webhook] | None = None,
    limits: Limits | None = None,
    enqueuer: Enqueuer | None = None,
    write_timeout: float = 4.5,
    drain_timeout: float = 2.0,
    sockets: Sequence[socket.socket] = (),
    public_url: str = PUBLIC_URL,
) -> AsyncIterator[ApiServer]:
    queue, readiness = MemoryQueue(), FakeReadiness()
    settings = ServerSettings(port=0, public_url=public_url, write_timeout=write_timeout, drain_timeout=drain_timeout)
    twilio = TwilioSettings(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN))
    app = create_app(
        twilio_webhooks(twilio, public_url) if webhooks is None else webhooks,
        enqueuer=enqueuer or queue,
        settings=settings,
        readiness=readiness,
        limits=limits,
    )
    server = await serve(app, settings, sockets=sockets, limits=limits)
    try:
        yield ApiServer(server, queue, readiness)
    finally:
        await server.stop()


def message(body: str = "Hello", sid: str = MESSAGE) -> Pairs:
    return [
        ("SmsMessageSid", sid),
        ("NumMedia", "0"),
        ("ProfileName", "Ana María"),
        ("SmsSid", sid),
        ("SmsStatus", "received"),
        ("Body", body),
        ("To", "whatsapp:+14155238886"),
        ("MessageSid", sid),
        ("AccountSid", ACCOUNT),
        ("From", "whatsapp:+34600000001"),
        ("ApiVersion", "2010-04-01"),
    ]


def status(word: str = "delivered", sid: str = MESSAGE, error: str | None = None) -> Pairs:
    pairs = [("SmsSid", sid), ("MessageStatus", word), ("MessageSid", sid), ("AccountSid", ACCOUNT)]
    return pairs + ([("ErrorCode", error)] if error else [])


def signed(pairs: Pairs, path: str = INBOUND_PATH) -> str:
    return sign(TOKEN, PUBLIC_URL + path, pairs)


def request(
    body: bytes,
    *,
    path: str = INBOUND_PATH,
    method: str = "POST",
    signature: str | bytes | None = None,
    content_type: str | None = "application/x-www-form-urlencoded; charset=utf-8",
    headers: Sequence[bytes] = (),
    version: str = "HTTP/1.1",
) -> bytes:
    """The bytes of a request; nothing is corrected."""
    lines = [f"{method} {path} {version}".encode(), b"Host: bot.example.com", f"Content-Length: {len(body)}".encode()]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}".encode())
    if signature is not None:
        lines.append(b"X-Twilio-Signature: " + (signature if isinstance(signature, bytes) else signature.encode()))
    return b"\r\n".join([*lines, *headers, b"", body])


def webhook(
    pairs: Pairs, *, path: str = INBOUND_PATH, headers: Sequence[bytes] = (), version: str = "HTTP/1.1"
) -> bytes:
    """A request as Twilio sends it."""
    return request(
        urlencode(pairs).encode(), path=path, signature=signed(pairs, path), headers=headers, version=version
    )


def status_webhook(pairs: Pairs, reference: str = "out-7") -> bytes:
    return webhook(pairs, path=f"{STATUS_PATH}?m={reference}")
