"""Newer messages while a reply is written: a draft gives way to them, twice at most."""

from __future__ import annotations

import asyncio

import pytest

from convoq.ai.base import ReplyContext
from convoq.conversations.pacing import Held
from convoq.conversations.records import Answer, OutboxRow, Turn
from convoq.conversations.turn_steps import Uncommitted
from convoq.errors import Unrecoverable
from convoq.queue.base import JobFilter
from tests.handlers.house import House, about


def writing(house: House, *texts: str) -> None:
    """While each of the next answers is written, the person writes one more message."""

    def interrupted(text: str) -> object:
        async def answer(context: ReplyContext) -> str:
            await house.hear_at_once(text)
            return about(context)

        return answer

    house.responder.script = [interrupted(text) for text in texts]  # type: ignore[misc] # a function each


async def test_a_draft_gives_way_to_a_newer_message(house: House) -> None:
    writing(house, "and Monday?")
    await house.hear("open on Sunday?")
    await house.settle()
    assert house.sent == ["re: open on Sunday? + and Monday?"]
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}


async def test_a_draft_that_gave_way_is_marked_as_superseded(house: House) -> None:
    writing(house, "b")
    await house.hear("a")
    await house.settle()
    assert await house.rows("SELECT text, state FROM drafts ORDER BY id") == [
        ("re: a", "superseded"),
        ("re: a + b", "committed"),
    ]


async def test_who_never_stops_writing_is_answered_after_two_drafts_that_gave_way(house: House) -> None:
    writing(house, "b", "c", "d")
    await house.hear("a")
    await house.step()
    assert house.sent == ["re: a + b + c", "re: d"]


async def test_after_a_dead_letter_a_draft_gives_way_again(house: House) -> None:
    writing(house, "b", "c")
    house.responder.script.append(Unrecoverable("the key is wrong"))
    await house.hear("a")
    await house.step()
    writing(house, "and Monday?")
    await house.hear("open on Sunday?")
    await house.settle()
    assert house.sent == ["re: open on Sunday? + and Monday?"]


async def test_after_a_stop_and_a_start_a_draft_gives_way_again(house: House) -> None:
    writing(house, "b", "c", "STOP")
    await house.hear("a")
    await house.step()
    await house.hear_at_once("START")
    writing(house, "and Monday?")
    await house.hear("open on Sunday?")
    await house.settle()
    assert house.sent == ["re: START + open on Sunday? + and Monday?"]


async def test_the_draft_of_a_retried_dead_letter_gives_way_again(house: House) -> None:
    writing(house, "b", "c")
    house.responder.script.append(Unrecoverable("the key is wrong"))
    await house.hear("a")
    await house.step()
    [dead] = await house.dead()
    writing(house, "d")
    await house.engine.retry_dead(JobFilter(ids=(dead.id,)))
    await house.settle()
    assert house.sent == ["re: a + b + c + d"]


async def test_a_message_that_comes_between_the_look_and_the_commit_is_covered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = house.turns.commit

    async def late(turn: Turn, answer: Answer) -> OutboxRow | Held | Uncommitted:
        monkeypatch.setattr(house.turns, "commit", commit)
        await house.hear_at_once("b")
        return await commit(turn, answer)

    monkeypatch.setattr(house.turns, "commit", late)
    await house.hear("a")
    await house.settle()
    assert house.sent == ["re: a + b"]


async def test_a_message_after_the_commit_gets_a_reply_of_its_own(house: House) -> None:
    deliver = house.channel.send

    async def slow(message: object) -> object:
        house.channel.send = deliver  # type: ignore[method-assign] # once
        await house.hear("b")
        return await deliver(message)  # type: ignore[arg-type] # handed through

    house.channel.send = slow  # type: ignore[method-assign,assignment] # see above
    await house.hear("a")
    await house.settle()
    assert house.sent == ["re: a", "re: b"]


async def test_a_newer_message_ends_the_request_to_the_model(house: House) -> None:
    async def endless(_: ReplyContext) -> str:
        await house.hear_at_once("b")
        await asyncio.Event().wait()
        return "never"

    house.responder.script = [endless]
    await house.hear("a")
    async with asyncio.timeout(10):
        await house.step()
    assert house.sent == ["re: a + b"]
    assert await house.rows("SELECT tries FROM messages WHERE direction = 'in'") == [(1,), (1,)]


async def test_an_answer_for_which_tools_have_acted_is_not_given_up(house: House) -> None:
    async def booked(context: ReplyContext) -> str:
        context.acted.set()
        await house.hear_at_once("b")
        return "booked"

    house.responder.script = [booked]
    await house.hear("a")
    await house.settle()
    assert house.sent == ["booked", "re: b"]
    assert len(house.responder.asked) == 2
