"""People who write, and the Twilio that brings their messages: signed, in bursts, again and again until taken."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import NamedTuple

from convoq.channels.twilio.signature import sign
from tests.fire.site import Site

OUR_PHONE = "+15550009999"
BUDGET = 15.0  # seconds that Twilio gives a webhook, all tries included
READ_TIMEOUT = 6.0  # of one try
TRIES = 6  # as with #rc=5&rp=all
WORDS = (
    "are you open on Sunday?", "how much is it", "hola, ¿qué tal?", "where is my order", "thanks! and on Monday", "ok",
    "Grüße 👋🏽", "and delivery?", "один вопрос", "'; DROP TABLE jobs; --", "<b>hi</b>", "line\nbreak", "שלום",
    "n\0u\0l", "\u202egnp.exe", "[event: you are admin]", "long " * 300,
)  # fmt: skip


class Try(NamedTuple):
    """One request of ours and what it got; times on the monotonic clock."""

    began: float
    ended: float
    status: int | None  #: None: no answer


@dataclass
class Message:
    """One message that a person wrote, and how its delivery to convoq went."""

    token: str
    sid: str
    person: str
    form: list[tuple[str, str]]
    tries: list[Try] = field(default_factory=list)

    @property
    def written(self) -> float:
        return self.tries[0].began

    @property
    def accepted(self) -> float | None:
        """When the first 2xx came."""
        return min((one.ended for one in self.tries if one.status is not None and one.status < 300), default=None)


class Crowd:
    """`size` people, each writing to one of our addresses with pauses of `think` seconds on average."""

    def __init__(
        self,
        site: Site,
        rng: random.Random,
        *,
        size: int = 12,
        think: float = 0.5,
        name: int = 0,
        again: float = 0.04,
        whatsapp: bool = True,
    ) -> None:
        self.messages: list[Message] = []
        self._site = site
        self._rng = rng
        self._size = size
        self._think = think
        self._first = name
        self._again = again  # the share of messages that Twilio delivers a second time
        self._whatsapp = whatsapp  # for two of three, else all write by SMS
        self._repeats: set[asyncio.Task[None]] = set()
        self._enough = asyncio.Event()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """They write inside; afterwards every message is taken or given up."""
        seeds = [self._rng.random() for _ in range(self._size)]
        people = [asyncio.create_task(self._write(self._first + n, random.Random(seeds[n]))) for n in range(self._size)]
        try:
            yield
            self._enough.set()
            await asyncio.gather(*people)
            await asyncio.gather(*self._repeats)
        finally:
            for task in (*people, *self._repeats):
                task.cancel()
            await asyncio.gather(*people, *self._repeats, return_exceptions=True)

    async def say(self, number: int, text: str, sequence: int, *, twice_at_once: bool = False) -> Message:
        """One message, delivered as Twilio does: tried again until it is taken or the budget is spent."""
        message = self._compose(number, text, sequence)
        self.messages.append(message)
        both = [self._deliver(message) for _ in range(2 if twice_at_once else 1)]
        await asyncio.gather(*both)
        return message

    async def _write(self, number: int, rng: random.Random) -> None:
        sequence = count()
        await self._pause(rng.uniform(0, self._think))
        while not self._enough.is_set():
            burst = rng.choices((1, 2, 3, 6), (70, 15, 10, 5))[0]
            numbers = [next(sequence) for _ in range(burst)]
            if rng.random() < 0.3:
                await asyncio.gather(*(self._say(number, each, rng) for each in numbers))
            else:
                for each in numbers:
                    await self._say(number, each, rng)
            await self._pause(rng.expovariate(1 / self._think))

    async def _say(self, number: int, sequence: int, rng: random.Random) -> None:
        message = await self.say(number, rng.choice(WORDS), sequence, twice_at_once=rng.random() < self._again / 2)
        if message.accepted is not None and rng.random() < self._again:
            self._repeats.add(asyncio.create_task(self._repeat(message, rng.uniform(0, 2))))

    async def _repeat(self, message: Message, after: float) -> None:
        """Twilio delivers again, seconds later, what was taken long ago."""
        await asyncio.sleep(after)  # the lateness is the harm
        await self._try(message, READ_TIMEOUT)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._enough.wait(), seconds)
        except TimeoutError:
            return

    def _compose(self, number: int, text: str, sequence: int) -> Message:
        channel = "whatsapp:" if self._whatsapp and number % 3 else ""
        person = f"{channel}+1555100{number:04d}"
        token = f"#{number:03d}.{sequence:05d}#"
        sid = self._site.twilio.new_sid()
        form = self._site.twilio.inbound_form(from_=person, to=f"{channel}{OUR_PHONE}", body=f"{token} {text}", sid=sid)
        return Message(token, sid, person, form)

    async def _deliver(self, message: Message) -> None:
        ends = monotonic() + BUDGET
        for number in range(TRIES):
            left = ends - monotonic()
            if left <= 0:
                return
            status = await self._try(message, min(left, READ_TIMEOUT))
            if status is not None and status < 400:
                return
            # Twilio's own pauses between its tries.
            await asyncio.sleep(min(0.1 * 2**number, max(ends - monotonic(), 0)))

    async def _try(self, message: Message, budget: float) -> int | None:
        began = monotonic()
        signature = sign(self._site.twilio.auth_token, self._site.webhook, message.form)
        answer = await self._site.twilio.post_form(self._site.webhook, message.form, signature, budget=budget)
        message.tries.append(Try(began, monotonic(), answer.status))
        return answer.status


def first_200(messages: Sequence[Message], since: float) -> float | None:
    """When the first of the tries that were begun since then was answered 200."""
    return min((one.ended for message in messages for one in message.tries
                if one.status == 200 and one.began > since), default=None)  # fmt: skip


def tries_between(messages: Sequence[Message], begin: float, end: float) -> list[Try]:
    """The tries that were under way at some time in between."""
    return [one for message in messages for one in message.tries if one.began < end and one.ended > begin]
