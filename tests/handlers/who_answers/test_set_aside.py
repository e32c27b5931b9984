"""What an operator leaves to nobody, say because another program answers there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from convoq.conversations.ownership import ActRefused
from tests.handlers.house import House
from tests.handlers.who_answers.chats import hear, open_chat, owner
from tests.stores import only_sqlite


@only_sqlite
async def test_the_ai_is_silent_and_nothing_of_it_is_answered_later(house: House) -> None:
    chat = await open_chat(house)
    await house.hear_at_once("and on Sunday?")
    change = await house.acts().set_aside(chat)
    await hear(house, "hello?")
    await house.live(86_000)
    assert (await owner(house), house.sent) == ("nobody", ["re: hello"])
    assert change.conversation.owner_version == 1
    given = await house.acts().release(chat)
    await house.settle()
    assert (given.returned, await owner(house), house.sent) == (0, "ai", ["re: hello"])
    await hear(house, "are you there?")
    assert house.sent[-1].endswith("are you there?")


@only_sqlite
async def test_an_answer_that_is_being_written_does_not_go_out(house: House) -> None:
    chat = await open_chat(house)

    async def meanwhile(_: object) -> str:
        await house.acts().set_aside(chat)
        return "too late"

    house.responder.script.append(meanwhile)
    await hear(house, "and on Sunday?")
    assert house.sent == ["re: hello"]


@only_sqlite
async def test_a_colleague_may_take_it_and_answer_what_came_meanwhile(house: House) -> None:
    chat = await open_chat(house)
    await house.acts().set_aside(chat)
    await hear(house, "hello?")
    await house.acts("Luis").reply(chat, "Here I am.")
    await house.settle()
    assert (await owner(house), house.sent[-1]) == ("human Luis", "Here I am.")
    assert await house.outcomes() == [("hello", "answered"), ("hello?", "human")]


async def expire(house: House, chat: int) -> None:
    house.clock.advance(90_000)
    await house.upkeep("process_expired")
    assert await house.rows("SELECT closed_reason FROM conversations WHERE id = ?", chat) == [("expired",)]


async def block(house: House, _: int) -> None:
    await house.acts().block(1)
    await house.acts().unblock(1)


async def stop(house: House, _: int) -> None:
    await hear(house, "STOP", "START")


async def reopen(house: House, chat: int) -> None:
    await expire(house, chat)
    await house.acts().reopen(chat)


@pytest.mark.parametrize("between", [expire, block, stop, reopen])
async def test_it_stays_so(house: House, between: Callable[[House, int], Awaitable[None]]) -> None:
    chat = await open_chat(house)
    await house.acts().set_aside(chat)
    await between(house, chat)
    await hear(house, "hello?")
    assert await owner(house) == "nobody"
    [(newest,)] = await house.rows("SELECT max(id) FROM conversations")
    await house.acts().release(newest)
    await hear(house, "and now?")
    assert (await owner(house), house.sent[-1].endswith("and now?")) == ("ai", True)


@only_sqlite
async def test_an_operators_closing_ends_it(house: House) -> None:
    chat = await open_chat(house)
    await house.acts().set_aside(chat)
    await house.acts().close(chat)
    await hear(house, "hello?")
    assert (await owner(house), house.sent[-1]) == ("ai", "re: hello?")


@only_sqlite
async def test_who_is_blocked_or_has_opted_out_is_not_given_to_the_ai(house: House) -> None:
    chat = await open_chat(house)
    await house.acts().block(1)
    for act in (house.acts().release, house.acts().set_aside, house.acts().leave):
        with pytest.raises(ActRefused, match="blocked"):
            await act(chat)
    assert await owner(house) == "nobody"


@only_sqlite
async def test_what_was_left_unanswered_at_a_closing_stays_so_after_it_is_reopened(house: House) -> None:
    chat = await open_chat(house)
    await house.hear_at_once("and on Sunday?")
    await house.acts().close(chat)
    await house.acts().reopen(chat)
    await house.acts().take_over(chat)
    assert (await house.acts().release(chat)).returned == 0
    await house.settle()
    assert house.sent == ["re: hello"]
