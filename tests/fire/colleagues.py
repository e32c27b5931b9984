"""Colleagues at a site: what they do goes the ways that there are, and how long each keeps the AI silent is noted."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Final, TypeVar

from convoq.cli.session import open_follow_ups
from convoq.clock import WallClock
from convoq.conversations.acts import Acts
from convoq.conversations.ownership import ActRefused
from convoq.conversations.pausing import thread_scope
from convoq.db.store import Store
from convoq.errors import DatabaseUnavailable
from convoq.handlers.receive import enqueue_turns
from convoq.loopback.process import convoq
from convoq.loopback.waiting import until
from convoq.queue.opening import OpenQueue
from convoq.settings.load import load
from tests.fire.books import Row
from tests.fire.report import Section
from tests.fire.site import Site

T = TypeVar("T")

BY_COMMAND: Final = 0.05  #: of the acts; each takes a process of its own
PATIENCE: Final = 300.0  # seconds; a worker that is started on a busy machine takes its time
MARTA, LUIS = "Marta", "Luis"


@dataclass
class Mute:
    """From the moment that a take-over has returned to the one in which the conversation is given back."""

    person: str
    began: float
    begun: frozenset[str]  #: references of the AI's parts whose request had begun by then
    ended: float = inf


class Colleagues:
    def __init__(self, site: Site, database: Store, queue: OpenQueue, section: Section, rng: random.Random) -> None:
        self.mutes: list[Mute] = []
        self.said: dict[str, str] = {}  #: texts of colleagues that were taken, and to whom
        self._site = site
        self._database = database
        self._queue = queue
        self._section = section
        self._rng = rng
        self._conversations: dict[str, int] = {}
        self._held: dict[str, tuple[str, Mute]] = {}  #: who has whose conversation

    def has(self, person: str) -> bool:
        return person in self._held

    async def take_over(self, person: str) -> None:
        """By one of them; now and then two try at once, and one of them gets it."""
        if self._rng.random() < BY_COMMAND:
            document = await self._command("takeover", str(await self._conversation(person)), "--as", MARTA)
            await self._note(person, MARTA, document["unsent_parts"], document["parts_under_way"])
            return
        names = (MARTA, LUIS) if self._rng.random() < 0.2 else (MARTA,)
        taken = await asyncio.gather(*(self._take_over(person, name) for name in names))
        self._section.expect(sum(taken) == 1, f"of {names} {sum(taken)} have the conversation of {person}")
        self._section.count("two at once", len(names) - 1)

    async def reply(self, person: str, text: str) -> None:
        """Takes over where the AI has it."""
        name, _ = self._held.get(person, (MARTA, None))
        conversation, key = await self._conversation(person), text
        written = await self._do(lambda: self._acts(name, lambda acts: acts.reply(conversation, text, key=key)))
        self.said[text] = person
        if not self.has(person):
            await self._note(person, name, written.change.unsent, written.change.under_way)

    async def release(self, person: str) -> None:
        name, mute = self._held.pop(person)
        mute.ended = monotonic()
        conversation = await self._conversation(person)
        self._section.count("give-backs")
        if self._rng.random() < BY_COMMAND:
            await self._command("release", str(conversation), "--as", name)
            return
        await self._do(lambda: self._acts(name, lambda acts: acts.release(conversation)))

    async def time_take_overs(self, person: str, number: int) -> list[float]:
        """How long each took until it was on disk, in seconds: from then on the AI is silent."""
        conversation, took = await self._conversation(person), []
        for _ in range(number):
            began = monotonic()
            await self._acts(MARTA, lambda acts: acts.take_over(conversation, force=True))
            took.append(monotonic() - began)
            await self._acts(MARTA, lambda acts: acts.release(conversation))
        return took

    async def pause(self, person: str) -> None:
        scope = await self._scope(person)
        await self._do(lambda: self._acts(MARTA, lambda acts: acts.pause(scope)))
        self._section.count("AI paused")

    async def resume(self, person: str) -> None:
        scope = await self._scope(person)
        await self._do(lambda: self._acts(MARTA, lambda acts: acts.resume(scope)))

    async def _take_over(self, person: str, name: str) -> bool:
        conversation = await self._conversation(person)
        try:
            change = await self._do(lambda: self._acts(name, lambda acts: acts.take_over(conversation)))
        except ActRefused as refused:
            if refused.code != "not_owner":
                raise
            return False
        await self._note(person, name, change.unsent, change.under_way)
        return True

    async def _note(self, person: str, name: str, unsent: int, under_way: int) -> None:
        mute = Mute(person, monotonic(), frozenset())
        self._held[person] = (name, mute)
        self.mutes.append(mute)
        mute.begun = frozenset(reference for (reference,) in await self._rows(BEGUN, person))
        self._section.count("take-overs")
        self._section.count("  in the middle of a reply", bool(unsent or under_way))
        self._section.count("  parts that had not begun to leave", unsent)
        self._section.count("  parts that had", under_way)

    async def _acts(self, name: str, act: Callable[[Acts], Coroutine[Any, Any, T]]) -> T:
        follow_ups = self._queue.follow_ups()
        done = await act(Acts(self._database, WallClock(), name, partial(enqueue_turns, follow_ups)))
        await follow_ups.send()
        return done

    async def _do(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """As a person would: once more, where a worker that stands still holds the file."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await act()
                except DatabaseUnavailable:
                    self._section.count("acts that were tried again")

    async def _command(self, *arguments: str) -> dict[str, Any]:
        self._section.count("acts by command")
        async with asyncio.timeout(PATIENCE):
            while True:
                process = await asyncio.create_subprocess_exec(
                    *convoq("conversations", *arguments, "--json"), cwd=self._site.directory,
                    env=self._site.roles["serve"].environ, stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
                output, _ = await process.communicate()
                if process.returncode == 0:
                    return dict(json.loads(output))
                self._section.count("acts that were tried again")

    async def _scope(self, person: str) -> str:
        [(thread_id,)] = await self._rows(THREAD, f"{await self._conversation(person)}")
        return thread_scope(thread_id)

    async def _conversation(self, person: str) -> int:
        """Once the first message is on record."""

        async def is_on_record() -> bool:
            found = await self._rows(CONVERSATION, person)
            self._conversations |= {person: int(found[0][0])} if found else {}
            return bool(found)

        if person not in self._conversations:
            await until(is_on_record, timeout=PATIENCE, pause=0.1)
        return self._conversations[person]

    async def _rows(self, sql: str, person: str) -> list[Row]:
        """Not from outside: Twilio and the model are in this event loop."""
        return await self._do(lambda: self._database.read(lambda tx: list(tx.execute(sql, (person,)))))


@asynccontextmanager
async def colleagues(site: Site, section: Section, rng: random.Random) -> AsyncIterator[Colleagues]:
    options = load(site.directory / "convoq.toml", environ=site.roles["serve"].environ).options
    async with open_follow_ups(options) as (database, queue):
        yield Colleagues(site, database, queue, section, rng)


BEGUN: Final = """
    SELECT o.reference FROM outbox AS o JOIN threads AS t ON t.id = o.thread_id
    JOIN contacts AS c ON c.id = t.contact_id WHERE c.address = ? AND o.revoked = 'not_owner'
"""
THREAD: Final = "SELECT thread_id FROM conversations WHERE id = CAST(? AS BIGINT)"
CONVERSATION: Final = """
    SELECT v.id FROM conversations AS v JOIN threads AS t ON t.id = v.thread_id
    JOIN contacts AS c ON c.id = t.contact_id WHERE c.address = ?
"""
