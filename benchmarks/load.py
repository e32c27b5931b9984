"""Sends signed webhooks over many connections as fast as they are answered, from a process of its own."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

from benchmarks import messages
from benchmarks.stats import latencies

FASTEST = 12_000  # webhooks a second that are prepared for
SILENCE = 30.0


async def post(*, port: int, url: str, connections: int, seconds: float) -> dict[str, float]:
    """Webhooks answered 2xx per second and their latency; how many there were, and how many were answered otherwise."""
    # Plain epoll, not asyncio: it costs a sixth of what a server spends, so that a server is measured and not this.
    prepared = messages.requests(round(seconds * FASTEST) + connections, seed=2, people=10_000, url=url)
    return Load(port, iter(prepared), connections).run(seconds)


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self.received = b""


class Load:
    """Each connection has one request under way at a time."""

    def __init__(self, port: int, requests: Iterator[bytes], connections: int) -> None:
        opened = [_Connection(port) for _ in range(connections)]
        self._by_number = {connection.socket.fileno(): connection for connection in opened}
        self._requests = requests
        self._poll = select.epoll()
        self._took: list[float] = []
        self._refused = 0
        self._usual_length = -1

    def run(self, seconds: float) -> dict[str, float]:
        started = time.perf_counter()
        for number, connection in self._by_number.items():
            self._poll.register(number, select.EPOLLIN)
            self._send(connection)
        under_way = len(self._by_number)
        until = started + seconds
        while under_way:
            events = self._poll.poll(SILENCE)
            if not events:
                raise TimeoutError(f"no answer for {SILENCE:g} s")
            for number, _ in events:
                connection = self._by_number[number]
                if self._answered(connection) and (time.perf_counter() >= until or not self._send(connection)):
                    under_way -= 1
        elapsed = time.perf_counter() - started
        return {
            "per_second": len(self._took) / elapsed,
            "answered": len(self._took),
            "refused": self._refused,
            **latencies(self._took),
        }

    def _send(self, connection: _Connection) -> bool:
        request = next(self._requests, None)
        if request is None:
            return False
        connection.received = b""
        connection.sent_at = time.perf_counter()
        connection.socket.sendall(request)
        return True

    def _answered(self, connection: _Connection) -> bool:
        data = connection.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed a connection")
        received = connection.received + data if connection.received else data
        # Its answers are alike: one of the usual length needs no second look.
        if len(received) != self._usual_length:
            if not _is_complete(received):
                connection.received = received
                return False
            self._usual_length = len(received)
        if received[9:10] == b"2":
            self._took.append(time.perf_counter() - connection.sent_at)
        else:
            self._refused += 1
        return True


def _is_complete(received: bytes) -> bool:
    head, ended, body = received.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return bool(ended) and len(body) >= int(length or 0)
