"""What a process does that was handed listening sockets and could not start: it answers 503 for a while.

The connection that woke it still waits at the socket. A process that ended at once would leave it there, and systemd
would start the next one for it at once, for ever: RestartPreventExitStatus= and StartLimitIntervalSec= hold for the
service, not for its socket.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass

import structlog

from convoq import logs, systemd
from convoq.api.app import create_refusing_app
from convoq.api.server import serve
from convoq.errors import ConvoqError, DatabaseUnavailable
from convoq.logs import log
from convoq.settings import ServerSettings
from convoq.text import harmless

DRAIN_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldTimes:
    """How long connections are answered 503 before the process ends, in seconds."""

    #: What passes by itself (a full disk, a locked file): within the 15 s that a channel tries for.
    unavailable: float = 5.0
    #: What waits for a person, who ends it sooner by `systemctl restart`.
    refused: float = 30.0

    def of(self, exit_code: int) -> float:
        return self.unavailable if exit_code == DatabaseUnavailable.exit_code else self.refused


def answer_503(cause: str, exit_code: int, times: HoldTimes | None = None) -> None:
    """Answers every request on the handed-over sockets 503, until the time is over or SIGTERM or SIGINT comes.

    Says so in one line of the log and in systemd's status. Never raises: the caller ends with `exit_code`.
    """
    seconds = (times or HoldTimes()).of(exit_code)
    if not structlog.is_configured():
        logs.configure(role="serve")
    line = _one_line(cause)
    log.error("serve.unstarted", cause=line, exit_code=exit_code, answers=503, seconds=seconds)
    # No READY=1: for systemd it is still starting, so `systemctl start` waits and then fails.
    systemd.notify(f"STATUS=cannot start, answers 503: {line}")
    try:
        asyncio.run(_hold(seconds))
    except (ConvoqError, OSError, ValueError) as error:
        log.error("serve.unstarted_failed", error=str(error))
    sys.stderr.flush()


async def _hold(seconds: float) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    settings = ServerSettings(drain_timeout=DRAIN_TIMEOUT)
    server = await serve(create_refusing_app(), settings, sockets=systemd.listen_sockets())
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)
    finally:
        await server.stop()


def _one_line(cause: str) -> str:
    first, *others = [harmless(line) for line in cause.splitlines()] or [""]
    return f"{first} (and {len(others)} more, see above)" if others else first
