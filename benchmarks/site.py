"""A convoq of one's own: a directory, its convoq.toml, and the three roles as real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import BenchmarkFailed, environment
from benchmarks.messages import ACCOUNT_SID, AUTH_TOKEN

LONGEST_START = 30.0
LONGEST_STOP = 60.0


@dataclass(frozen=True, slots=True)
class Role:
    """One running role."""

    process: subprocess.Popen[bytes]
    log_path: Path
    ready_after: float  #: seconds from its start until it said that it was ready

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, as the scheduler counts it (to the nanosecond, not to the tick)."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    @property
    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def wait(self, seconds: float) -> None:
        """Until it ended by itself. Raises BenchmarkFailed."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchmarkFailed(f"did not end within {seconds:g} s; {_tail(self.log_path)}") from None
        if code != 0:
            raise BenchmarkFailed(f"ended with {code}; {_tail(self.log_path)}")


class Site:
    """Roles on one database. `settings` are further tables of convoq.toml, by table and option."""

    def __init__(self, directory: Path, settings: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.directory = directory
        self.database = directory / "convoq.db"
        self.port = free_port()
        self.public_url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "convoq.toml"
        self.config.write_text(_toml(_defaults(self) | dict(settings or {})))
        self.config.chmod(0o600)

    @contextmanager
    def role(self, *arguments: str, **variables: str) -> Iterator[Role]:
        """The role, ready; it is stopped afterwards if it has not ended by itself."""
        role = self._start(arguments, variables)
        try:
            yield role
            if role.process.poll() is None:
                role.process.send_signal(signal.SIGTERM)
                role.wait(LONGEST_STOP)
        finally:
            if role.process.poll() is None:
                role.process.kill()
                role.process.wait()

    def _start(self, arguments: tuple[str, ...], variables: dict[str, str]) -> Role:
        log_path = self.directory / f"{arguments[0]}-{time.monotonic_ns()}.log"
        address = self.directory / f"ready-{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell, log_path.open("wb") as log:
            bell.bind(str(address))
            started = time.perf_counter()
            process = subprocess.Popen(
                [*command(), *arguments],
                cwd=self.directory, stdout=log, stderr=log,
                env=environment(NOTIFY_SOCKET=str(address), **variables),
            )  # fmt: skip
            try:
                _wait_for_ready(bell, process, log_path)
            except BaseException:
                process.kill()
                process.wait()
                raise
            return Role(process, log_path, time.perf_counter() - started)


def command() -> list[str]:
    """convoq as its users start it."""
    script = Path(sys.executable).with_name("convoq")
    return [str(script)] if script.exists() else [sys.executable, "-m", "convoq"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_ready(bell: socket.socket, process: subprocess.Popen[bytes], log_path: Path) -> None:
    bell.settimeout(0.1)
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if b"READY=1" in bell.recv(4096):
                return
        except TimeoutError:
            continue
    raise BenchmarkFailed(f"did not get ready; {_tail(log_path)}")


def _tail(log_path: Path) -> str:
    return f"its log ends: {' '.join(log_path.read_text().split())[-600:]}"


def _defaults(site: Site) -> dict[str, Mapping[str, Any]]:
    return {
        "database": {"path": str(site.database), "min_free_mb": 0},
        "server": {"port": site.port, "public_url": site.public_url},
        # A port where nobody listens: nothing is ever sent.
        "twilio": {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "api_base_url": "http://127.0.0.1:9"},
        "ai": {"model": "offline"},
        "log": {"level": "warning", "format": "json"},
    }


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines: list[str] = []
    for table, options in tables.items():
        # JSON's strings, numbers and booleans are TOML's.
        lines += [f"[{table}]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in options.items())]
    return "\n".join(lines) + os.linesep
