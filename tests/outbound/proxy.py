"""A real HTTP proxy: CONNECT, and plain requests with the whole address in their first line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.outbound.authority import forwarder, join


@dataclass
class ProxyServer:
    """Sends all that it is asked for to one port, whatever host is named: so no name has to be resolved."""

    target: int
    refuse: str | None = None  #: a status line, for whoever asks
    port: int = 0
    asked: list[str] = field(default_factory=list)  #: method and target of each request
    logins: list[str | None] = field(default_factory=list)  #: what each said in Proxy-Authorization

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        method, target, _ = line.split(" ")
        self.asked.append(f"{method} {target}")
        headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in fields if text)}
        self.logins.append(headers.get("proxy-authorization"))
        if self.refuse is not None:
            writer.write(f"HTTP/1.1 {self.refuse}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await join(reader, writer, self.target)
        else:
            path = "/" + target.partition("://")[2].partition("/")[2]
            await join(reader, writer, self.target, head.replace(target.encode(), path.encode(), 1))


@asynccontextmanager
async def proxy_server(target: int, *, refuse: str | None = None) -> AsyncIterator[ProxyServer]:
    proxy = ProxyServer(target, refuse)
    async with forwarder(proxy._handle) as proxy.port:
        yield proxy
