"""Connections to Redis that never repeat a command by themselves, and what their errors mean."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from convoq.errors import DatabaseUnavailable
from convoq.queue.redis.scripts import SCRIPTS

Argument = str | int | bytes
Reply = Any

CONNECT_TIMEOUT: Final = 5.0  # seconds
ANSWER_TIMEOUT: Final = 10.0  # seconds; a server that fsyncs each command may wait for a slow disk
LARGEST_PIPELINE: Final = 256  # scripts that go out at once

# What a server answers that could do it at another time. Any other answer is a fault of ours.
_PASSING: Final = (OutOfMemoryError, ReadOnlyError, MasterDownError, NoPermissionError)
_PASSING_WORDS: Final = re.compile("MISCONF|NOREPLICAS|BUSY|UNBLOCKED|NOAUTH")


class Server(NamedTuple):
    """Where it is, and who asks."""

    url: str
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None  #: who vouches for one behind TLS, if not whom the machine believes

    def __str__(self) -> str:
        """For people: without what may be secret."""
        parts = urlsplit(self.url)
        return f"Redis at {parts.path if parts.scheme == 'unix' else f'{parts.hostname}:{parts.port or 6379}'}"

    def connect(self) -> redis.asyncio.Redis:
        """A client of one event loop.

        It repeats nothing: a repeated enqueue would be a second job, and a repeated ack would find its claim gone.
        """
        return redis.asyncio.Redis.from_url(self.url, retry=AsyncRetry(NoBackoff(), 0), **self._options())

    def connect_blocking(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), **self._options())

    def _options(self) -> dict[str, Any]:
        login = {"username": self.username, "password": self.password} if self.password else {}
        authority = {"ssl_ca_certs": self.ca_file} if self.ca_file else {}
        # RESP 2 means the same to every server, and no greeting that only some of them know.
        return {
            "protocol": 2,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": ANSWER_TIMEOUT,
            "client_name": "convoq",
            **login,
            **authority,
        }

    def unavailable(self, error: Exception) -> Exception:
        """What an error of the client means to us: DatabaseUnavailable, or a fault of ours as it is."""
        if isinstance(error, ResponseError) and not (isinstance(error, _PASSING) or _PASSING_WORDS.match(str(error))):
            return error
        if isinstance(error, OutOfMemoryError):
            return DatabaseUnavailable(f"{self} is full (maxmemory): it takes no new jobs")
        return DatabaseUnavailable(f"{self}: {' '.join(str(error).split()) or type(error).__name__}")


class _Call(NamedTuple):
    words: tuple[Argument, ...]  #: the whole command
    done: asyncio.Future[Reply]


class Scripts:
    """Runs scripts in the order of the calls, over one connection: what comes while Redis works goes out together.

    A call that is cancelled before it went out never happens; one that is out happens whole. Raises
    DatabaseUnavailable; whether the script has run is then unknown if the connection broke.
    """

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        # One hash tag, so that all keys of a queue live on one shard.
        self.prefix = f"{{{prefix}}}:"
        self._client = server.connect()
        self._waiting: deque[_Call] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._loaded = False

    def run(self, script: str, *arguments: Argument) -> asyncio.Future[Reply]:
        return self.command("EVALSHA", SCRIPTS[script].digest, 1, self.prefix, *arguments)

    def command(self, *words: Argument) -> asyncio.Future[Reply]:
        """Another command, in the order of the calls too."""
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(words, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return done

    async def _send(self) -> None:
        await asyncio.sleep(0)  # whatever else this turn of the loop brings goes along
        while self._waiting:
            calls = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_PIPELINE))]
            await self._exchange([call for call in calls if not call.done.cancelled()])

    async def _exchange(self, calls: list[_Call]) -> None:
        try:
            replies = await self._round_trip(calls)
        except (RedisError, OSError) as error:
            replies = [error] * len(calls)
        forgotten: list[_Call] = []
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, NoScriptError):
                forgotten.append(call)
            elif call.done.done():
                continue
            elif isinstance(reply, Exception):
                call.done.set_exception(self._server.unavailable(reply))
            else:
                call.done.set_result(reply)
        if forgotten:  # by a server that has started again: none of them has run
            self._loaded = False
            self._waiting.extendleft(reversed(forgotten))

    async def _round_trip(self, calls: list[_Call]) -> list[Reply]:
        if not calls:
            return []
        pipeline = self._client.pipeline(transaction=False)
        if not self._loaded:
            for script in SCRIPTS.values():
                pipeline.script_load(script.source)
            await pipeline.execute()
            self._loaded = True
        for call in calls:
            pipeline.execute_command(*call.words)
        return list(await pipeline.execute(raise_on_error=False))

    async def close(self) -> None:
        """What was called before is done."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        await self._client.aclose()


class BlockingScripts:
    """Runs one script at a time and blocks: for a thread beside the event loop."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = f"{{{prefix}}}:"
        self._client = server.connect_blocking()

    def run(self, name: str, *arguments: Argument) -> Reply:
        """Raises DatabaseUnavailable."""
        script = SCRIPTS[name]
        try:
            try:
                return self._client.evalsha(script.digest, 1, self._prefix, *arguments)
            except NoScriptError:
                return self._client.eval(script.source, 1, self._prefix, *arguments)
        except (RedisError, OSError) as error:
            raise self._server.unavailable(error) from error

    def close(self) -> None:
        self._client.close()
