"""The port of processes that must be told it before one of them listens there."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from convoq.loopback.environment import reserved_port


def test_a_reserved_port_is_free_to_nobody_who_does_not_name_it() -> None:
    """The kernel looks for a free port by the rule for sockets without SO_REUSEADDR, whatever the asking one has."""
    with reserved_port() as port, closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


async def test_on_a_reserved_port_its_own_server_listens_as_often_as_it_starts() -> None:
    with reserved_port() as port:
        for _ in range(2):
            server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
            server.close()
            await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
