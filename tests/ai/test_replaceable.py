"""A responder is replaced between two turns, and closed after its last one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from convoq.ai.base import Reply, ReplyContext
from convoq.ai.replaceable import ReplaceableResponder

CONTEXT = cast(ReplyContext, None)  # neither of them looks at it


@dataclass(eq=False)
class Voice:
    """Says its name, as soon as it may."""

    name: str
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0

    async def warm(self) -> None: ...

    async def reply(self, context: ReplyContext) -> Reply:  # the protocol's signature
        self.asked.set()
        await self.may_answer.wait()
        assert not self.closed
        return Reply(text=self.name, model=self.name)

    async def close(self) -> None:
        self.closed += 1


async def test_a_turn_under_way_is_finished_by_the_responder_that_began_it() -> None:
    old, new = Voice("old"), Voice("new")
    responder = ReplaceableResponder(old)
    under_way = asyncio.create_task(responder.reply(CONTEXT))
    await old.asked.wait()
    await responder.replace(new)
    new.may_answer.set()
    assert (await responder.reply(CONTEXT)).text == "new"
    assert old.closed == 0
    old.may_answer.set()
    assert (await under_way).text == "old"
    assert (old.closed, new.closed) == (1, 0)


async def test_a_responder_without_a_turn_is_closed_when_it_is_replaced() -> None:
    old, new = Voice("old"), Voice("new")
    responder = ReplaceableResponder(old)
    await responder.replace(new)
    assert (old.closed, new.closed) == (1, 0)
    await responder.close()
    assert (old.closed, new.closed) == (1, 1)


async def test_the_end_closes_what_still_answers_too() -> None:
    old, new = Voice("old"), Voice("new")
    responder = ReplaceableResponder(old)
    under_way = asyncio.create_task(responder.reply(CONTEXT))
    await old.asked.wait()
    await responder.replace(new)
    await responder.close()
    assert (old.closed, new.closed) == (1, 1)
    under_way.cancel()
    await asyncio.gather(under_way, return_exceptions=True)
