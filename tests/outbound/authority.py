"""A certificate authority of a company's own, made with openssl, and a TLS server that it vouches for."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Authority(NamedTuple):
    """Files in PEM: whom to believe, and what the server shows."""

    certificate: Path
    chain: Path
    key: Path


def make_authority(directory: Path, host: str) -> Authority:
    """An authority and its certificate for `host`."""
    made = Authority(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    ca_key = str(directory / "ca.key")
    _run(*new, "-keyout", ca_key, "-out", str(made.certificate), "-subj", "/CN=Example Works CA")
    _run(
        *new, "-keyout", str(made.key), "-out", str(made.chain), "-subj", f"/CN={host}",
        "-addext", f"subjectAltName=DNS:{host}", "-addext", "basicConstraints=critical,CA:FALSE",
        "-CA", str(made.certificate), "-CAkey", ca_key,
    )  # fmt: skip
    return made


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@asynccontextmanager
async def tls_in_front_of(port: int, authority: Authority) -> AsyncIterator[int]:
    """The port of a TLS server whose plain text goes to another port of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain, authority.key)
    async with forwarder(lambda reader, writer: join(reader, writer, port), context) as its_port:
        yield its_port


@asynccontextmanager
async def forwarder(handle: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server; every connection of it has ended when the block does."""
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two ends went away, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b"") -> None:
    """Carries everything between a connection and a port of this machine, until one side has ended."""
    its_reader, its_writer = await asyncio.open_connection("127.0.0.1", port)
    its_writer.write(first)
    ways = [asyncio.create_task(_carry(reader, its_writer)), asyncio.create_task(_carry(its_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        its_writer.close()  # first: the end of the test cancels what is awaited here
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
