"""Accepts connections: as many as there is room for, and without a word for each one that finds no descriptor free."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from typing import Any, Final

from convoq.api.connections import ConnectionServer
from convoq.api.throttle import Throttle
from convoq.logs import log

BACKLOG: Final = 4096
BATCH: Final = 32  # accepted in one turn of the event loop: fewer than the descriptors that are kept in reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTimings:
    """In seconds."""

    retry: float = 0.5  #: until the next attempt where the process or the machine has no descriptor left
    log_every: float = 10.0  #: between two lines about that
    shortest_wait: float = 0.01  #: for room, so that connections that ripen one by one don't cost a turn each


class Listener:
    """One listening socket at work, until close().

    asyncio's own accepts whatever the kernel has before a single connection is known to its protocol, and where
    descriptors run out it logs each of these attempts, thousands a second.
    """

    def __init__(
        self, listening: socket.socket, connections: ConnectionServer, timings: ListenerTimings | None = None
    ) -> None:
        self._listening = listening
        self._connections = connections
        self._timings = timings or ListenerTimings()
        self._throttle = Throttle(time.monotonic, burst=1, every=self._timings.log_every)
        self._resuming: asyncio.TimerHandle | None = None
        self._adopting: set[asyncio.Task[object]] = set()
        self.address: Any = listening.getsockname()

    def start(self) -> None:
        """Raises OSError when the socket cannot listen."""
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        self._resume()

    def pause(self) -> None:
        """Accepts nothing from here on."""
        if self._listening.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
        if self._resuming is not None:
            self._resuming.cancel()

    def close(self) -> None:
        self.pause()
        self._listening.close()

    def _resume(self) -> None:
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def _pause_for(self, seconds: float) -> None:
        self.pause()
        self._resuming = asyncio.get_running_loop().call_later(seconds, self._resume)

    def _accept(self) -> None:
        for _ in range(BATCH):
            if wait := self._connections.seconds_to_room():
                self._pause_for(max(wait, self._timings.shortest_wait))
                return
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._fail(error)
                return
            self._adopt(accepted)

    def _adopt(self, accepted: socket.socket) -> None:
        self._connections.expect()
        loop = asyncio.get_running_loop()
        adopting = loop.create_task(loop.connect_accepted_socket(self._connections, accepted))
        self._adopting.add(adopting)
        adopting.add_done_callback(self._adopting.discard)

    def _fail(self, error: OSError) -> None:
        """Mostly EMFILE. The connection stays in the kernel's queue, so the socket stays readable: come back later."""
        self._pause_for(self._timings.retry)
        held_back = self._throttle.admit()
        if held_back is not None:
            reason = os.strerror(error.errno) if error.errno else str(error)
            log.warning("connections.not_accepted", reason=reason, retry_in=self._timings.retry, held_back=held_back)
