"""catch_up: messages whose webhook never reached us are found on the channel's list, and enqueued as if it had."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from convoq.channels.base import Channel, Failure, Listed, SendFailed
from convoq.clock import DAY_MS, Clock
from convoq.conversations.catching_up import BATCH, CatchUp, OurAddress
from convoq.errors import RetryLater
from convoq.handlers.base import ClaimContext, Handler
from convoq.jobs import NewJob
from convoq.logs import log
from convoq.queue.base import Enqueued
from convoq.queue.rules import DEDUP_RETENTION_MS

SETTLING_MS: Final = 120_000  # younger ones may still come by themselves: Twilio tries for 75 s
OVERLAP_MS: Final = 600_000  # of two looks: the list may show a message late
LONGEST_AGO_MS: Final = DAY_MS  # of a look that is not told how far back: an answer to what is older helps no more
#: How far back a look can be told to go: beyond it, what was answered and has since lost its text (or was erased) would
#: pass for new, as its dedup key is gone by then.
FURTHEST_MS: Final = DEDUP_RETENTION_MS - DAY_MS
PAUSE: Final = 60.0  # seconds

Enqueue = Callable[[NewJob], Awaitable[Enqueued]]


class Found(NamedTuple):
    """What one look has come to."""

    listed: int = 0
    missing: int = 0  #: had not come by themselves
    answered: int = 0  #: of these, answered from elsewhere

    def and_also(self, other: Found) -> Found:
        return Found(*map(sum, zip(self, other, strict=True)))


class CatchingUp:
    """Compares the channels' lists with what is on record. Repeating it enqueues nothing a second time."""

    def __init__(self, store: CatchUp, channels: Mapping[str, Channel], enqueue: Enqueue | None, wall: Clock) -> None:
        """Without `enqueue` it only counts."""
        self._store = store
        self._channels = channels
        self._enqueue = enqueue
        self._wall = wall

    async def look(self, ago: float | None = None, *, alive: Callable[[], None] = lambda: None) -> Found:
        """At all our addresses: since the last look, or since `ago` seconds. Raises SendFailed.

        `alive` is called whenever it has got a step further.
        """
        found = Found()
        for address in await self._store.addresses(self._wall.now()):
            if address.channel in self._channels:
                found = found.and_also(await self._look_at(address, ago, alive))
        return found

    async def _look_at(self, address: OurAddress, ago: float | None, alive: Callable[[], None]) -> Found:
        now = self._wall.now()
        since = _since(address, now) if ago is None else now - round(ago * 1000)
        channel = self._channels[address.channel]
        missing, listed = await self._missing(channel, address, since, until=now - SETTLING_MS)
        by_person: dict[str, list[Listed]] = {}
        for one in missing:
            by_person.setdefault(one.address, []).append(one)
        found = Found(listed)
        for person, messages in by_person.items():
            alive()
            found = found.and_also(await self._take(channel, address, person, messages))
        if self._enqueue is not None and since <= address.since:  # else what lies between is still to be looked for
            await self._store.caught_up(address, now - SETTLING_MS)
        if found.missing:
            log.warning("messages.missed", our_address=address.address, count=found.missing, answered=found.answered)
        return found

    async def _missing(
        self, channel: Channel, address: OurAddress, since: int, *, until: int
    ) -> tuple[list[Listed], int]:
        """Oldest first; and how many were looked at."""
        listed = [one async for one in channel.list_received(address.address, since) if one.at < until]
        unknown: set[str] = set()
        for start in range(0, len(listed), BATCH):
            ids = [one.provider_id for one in listed[start : start + BATCH]]
            unknown |= await self._store.unknown(address.channel, ids)
        return [one for one in reversed(listed) if one.provider_id in unknown], len(listed)

    async def _take(self, channel: Channel, address: OurAddress, person: str, messages: Sequence[Listed]) -> Found:
        """Those that were answered from elsewhere are put on record, and not answered again."""
        sent = await channel.list_sent(address.address, person, messages[0].at)
        foreign = await self._store.foreign(address.channel, address.address, person, [one.provider_id for one in sent])
        answered_at = max((one.at for one in sent if one.provider_id in foreign), default=0)
        missing = answered = 0
        for one in messages:
            if await self._is_new(channel, one, answered=one.at <= answered_at):
                missing += 1
                answered += one.at <= answered_at
        return Found(0, missing, answered)

    async def _is_new(self, channel: Channel, one: Listed, *, answered: bool) -> bool:
        """What has come by itself and is not on record waits to be recorded, or is a dead letter of its own."""
        if self._enqueue is None:
            return True
        return not (await self._enqueue(await channel.receive(one, answered=answered))).duplicate


def _since(address: OurAddress, now: int) -> int:
    """A last look that lies ahead was dated by a clock that was wrong, and says nothing."""
    longest_ago = now - LONGEST_AGO_MS
    return longest_ago if address.since > now else max(address.since - OVERLAP_MS, longest_ago)


def catch_up(catching_up: CatchingUp) -> Handler:
    """A channel that refuses our account is looked at again with the next slot: no message waits in this job."""

    async def handler(context: ClaimContext) -> None:
        try:
            await catching_up.look(alive=context.renew_deadline)
        except SendFailed as error:
            log.warning("catch_up.failed", failure=error.failure, code=error.code, error=str(error))
            if error.failure is not Failure.ACCOUNT:
                raise RetryLater(error.delay or PAUSE, str(error)) from error

    return handler
