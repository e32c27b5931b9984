"""A redis-server that fsyncs every command before it answers."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.child import BenchmarkFailed

LONGEST_START = 10.0


@contextmanager
def durable_redis(directory: Path) -> Iterator[str]:
    """Its URL; it is gone afterwards."""
    path = directory / "redis.sock"
    process = subprocess.Popen(
        [
            *("redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(directory)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(path, process)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                client.sendall(b"PING\r\n")
                if client.recv(16).startswith(b"+PONG"):
                    return
            except OSError:
                time.sleep(0.02)
    raise BenchmarkFailed("redis-server did not start")
