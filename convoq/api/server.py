"""Listens for the webhook app: binds, closes stalled connections, and drains on stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from convoq.api.connections import ConnectionServer, Limits
from convoq.api.listener import Listener
from convoq.errors import ConfigError, ConvoqError
from convoq.settings import ServerSettings

TURNS_TO_ACCEPT: Final = 3  # of the event loop, from an accepted socket to a connection that drain() knows
RESERVED_FILES: Final = 64  # descriptors that the rest of the process needs: database, log, sockets to wake others


async def serve(
    app: web.Application,
    settings: ServerSettings,
    *,
    sockets: Sequence[socket.socket] | None = None,
    limits: Limits | None = None,
    section: str = "server",
) -> RunningServer:
    """Accepts connections when it returns: on `sockets` if there are any, else on the configured host and port.

    `section` is where the settings stand, for what is said of them.
    Raises ConfigError or ConvoqError with one line when it cannot listen.
    """
    runner = _Runner(app, _fit_limits(limits or Limits(), settings))
    await runner.setup()
    try:
        listeners = await _listen(runner.connections, settings, sockets or (), section)
    except BaseException:
        await runner.cleanup()
        raise
    return RunningServer(runner, listeners, drain_timeout=settings.drain_timeout)


class RunningServer:
    """A listener at work, until its owner calls stop()."""

    def __init__(self, runner: _Runner, listeners: list[Listener], *, drain_timeout: float) -> None:
        self._runner = runner
        self._listeners = listeners
        self._drain_timeout = drain_timeout
        self._sweeping = asyncio.create_task(runner.connections.sweep())
        names = [listener.address for listener in listeners]
        self.addresses: tuple[str, ...] = tuple(_format_address(name) for name in names)
        ports = [name[1] for name in names if isinstance(name, tuple)]
        self.port: int | None = ports[0] if ports else None  #: None: only Unix sockets

    async def stop(self) -> None:
        """No new connections from here on; open requests finish within the drain timeout, then all is closed."""
        await self._stop_listening()
        await self._runner.connections.drain(self._drain_timeout)
        self._sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeping
        await self._runner.cleanup()

    async def _stop_listening(self) -> None:
        await asyncio.sleep(0)  # accepts what the kernel has queued: closing the listener would reset it
        for listener in self._listeners:
            listener.pause()
        for _ in range(TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()


class _Runner(web.AppRunner):
    __slots__ = ("_limits", "connections")
    connections: ConnectionServer

    def __init__(self, app: web.Application, limits: Limits) -> None:
        super().__init__(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_time,
            lingering_time=limits.linger_time,
            # By now drain() has closed every connection: this is for handlers that ignore their cancellation.
            shutdown_timeout=0.1,
        )
        self._limits = limits

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        self.connections = ConnectionServer(
            made.request_handler, request_factory=made.request_factory, limits=self._limits, **self._kwargs
        )
        return self.connections


async def _listen(
    connections: ConnectionServer, settings: ServerSettings, sockets: Sequence[socket.socket], section: str
) -> list[Listener]:
    where = f"{settings.host}:{settings.port}"
    try:
        listeners = [Listener(bound, connections) for bound in sockets or await _bind(settings)]
        for listener in listeners:
            listener.start()
    except PermissionError:
        raise ConfigError(f"cannot listen on {where}: not allowed; take a {section}.port above 1023") from None
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"{section}.host: {settings.host!r} is no address of this machine") from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConvoqError(f"cannot listen on {where}: {reason}; is another process there? ({section}.port)") from None
    return listeners


async def _bind(settings: ServerSettings) -> list[socket.socket]:
    """A socket for each address that the host has. Raises OSError."""
    loop = asyncio.get_running_loop()
    binding = await loop.create_server(
        asyncio.Protocol, settings.host, settings.port, reuse_address=True, start_serving=False
    )
    try:
        return [bound.dup() for bound in binding.sockets]
    finally:
        binding.close()


def _fit_limits(limits: Limits, settings: ServerSettings) -> Limits:
    """The limits, but never a request cut before its own deadlines, nor more connections than files may be open."""
    slowest = limits.body_time + settings.write_timeout + limits.linger_time
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.connections if allowed == resource.RLIM_INFINITY else max(8, allowed - RESERVED_FILES)
    return replace(limits, request_time=max(limits.request_time, slowest), connections=min(limits.connections, most))


def _format_address(address: Any) -> str:
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
