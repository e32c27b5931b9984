"""Workers find each other at the server: each holds a subscription, which ends with its process, and is woken by it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from redis.exceptions import RedisError

from convoq.logs import log
from convoq.queue.redis.connection import Server

CANCELLED_AGAIN: Final = 0.1  # seconds

Subscription = Any  #: redis-py's PubSub, of which not all is typed


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceTimings:
    """All in seconds."""

    absence: float = 1.0  #: a worker without a subscription for so long is dead: a new connection takes less
    settling: float = 5.0  #: after a lost connection of its own it judges no other worker: theirs may be lost as well
    ping: float = 5.0  #: between two questions to the server over a silent subscription
    pause: float = 0.2  #: before a lost subscription is made anew


class Presence:
    """A worker's own subscription: to what wakes it, and to a channel of its name that says that it lives.

    The server drops it when the process dies, however it dies. A connection that is lost is made anew.
    """

    def __init__(self, server: Server, prefix: str, name: str, database: str, timings: PresenceTimings) -> None:
        """`database` is what it tells others of where it answers from."""
        self.name = name
        self.woken = asyncio.Event()
        self.is_heard = False
        self._settled_at = 0.0
        self._server = server
        self._prefix = prefix
        self._database = database
        self._timings = timings
        self._client: Any = server.connect()
        self._task: asyncio.Task[None] | None = None

    def may_judge(self) -> bool:
        """Whether what it sees of others says something of them."""
        return self.is_heard and monotonic() >= self._settled_at

    async def start(self) -> None:
        """Returns once others can see it. Raises DatabaseUnavailable."""
        try:
            subscription = await self._subscribe()
        except (RedisError, OSError) as error:
            await self._client.aclose()
            raise self._server.unavailable(error) from error
        self._task = asyncio.create_task(self._listen(subscription))

    async def _subscribe(self) -> Subscription:
        subscription: Subscription = self._client.pubsub()
        try:
            await subscription.subscribe(f"{self._prefix}wake", f"{self._prefix}alive:{self.name}")
            for _ in range(2):
                await subscription.get_message(timeout=self._timings.ping)
            # Known only once it is seen to live.
            await self._client.hset(f"{self._prefix}workers", self.name, self._database)
        except BaseException:  # a cancelled one, too, leaves no subscription that would pass for a mark
            await subscription.aclose()
            raise
        self.is_heard = True
        return subscription

    async def _listen(self, subscription: Subscription) -> None:
        while True:
            try:
                await self._hear(subscription)
            except (RedisError, OSError) as error:
                self.is_heard = False
                log.warning("worker.subscription_lost", error=str(error))
            finally:
                with suppress(RedisError, OSError):
                    await subscription.aclose()
            subscription = await self._subscribe_again()
            self._settled_at = monotonic() + self._timings.settling
            self.woken.set()  # what was published meanwhile was not heard: look
            log.info("worker.subscribed_again")

    async def _subscribe_again(self) -> Subscription:
        while True:
            await asyncio.sleep(self._timings.pause)
            with suppress(RedisError, OSError):
                return await self._subscribe()

    async def _hear(self, subscription: Subscription) -> None:
        """Until the connection is lost: one that is silent is asked whether it is there."""
        asked = False
        while True:
            message = await subscription.get_message(timeout=self._timings.ping)
            if message is None:
                if asked:
                    raise OSError("the server does not answer any more")
                await subscription.ping()
                asked = True
                continue
            asked = False
            if message["type"] == "message":
                self.woken.set()

    async def close(self) -> None:
        while self._task is not None and not self._task.done():
            self._task.cancel()
            # Again: redis-py takes a cancellation for its own timeout where both come at once, and goes on.
            await asyncio.wait({self._task}, timeout=CANCELLED_AGAIN)
        await self._client.aclose()


class Judge:
    """Tells which of the known workers are dead: without a subscription for a while, as this process sees it."""

    def __init__(self, timings: PresenceTimings) -> None:
        self._timings = timings
        self._absent_since: dict[str, float] = {}

    def dead(self, subscribers: dict[str, int]) -> list[str]:
        """Of the workers, each with how many connections hold its subscription."""
        now = monotonic()
        self._absent_since = {
            name: self._absent_since.get(name, now) for name, count in subscribers.items() if count == 0
        }
        return [name for name, since in self._absent_since.items() if now - since >= self._timings.absence]

    def forget(self) -> None:
        """What was seen before says nothing: the connections of all may have been lost at once."""
        self._absent_since.clear()
