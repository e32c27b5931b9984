"""Nothing is sent in a conversation that a person owns, nor to who is blocked or opted out."""

from __future__ import annotations

import pytest

from convoq.ai.base import ReplyContext
from tests.handlers.house import House, about


async def test_a_conversation_that_a_person_owns_gets_no_reply(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change("UPDATE conversations SET owner = 'human'")
    await house.hear("still there?")
    await house.settle()
    assert house.sent == ["re: hello"]
    assert (await house.outcomes())[-1] == ("still there?", "human")


async def test_a_person_who_takes_over_while_a_reply_is_written_stops_it(house: House) -> None:
    async def taken_over(context: ReplyContext) -> str:
        await house.change("UPDATE conversations SET owner = 'human'")
        return about(context)

    house.responder.script = [taken_over]
    await house.hear("hello")
    await house.settle()
    assert (house.sent, await house.outcomes()) == ([], [("hello", "human")])


async def test_a_person_who_takes_over_before_the_send_stops_it(house: House) -> None:
    commit = house.turns.commit_reply

    async def then_taken_over(*args: object, **options: object) -> bool:
        done = await commit(*args, **options)  # type: ignore[arg-type] # handed through
        await house.change("UPDATE conversations SET owner = 'human'")
        return done

    house.turns.commit_reply = then_taken_over  # type: ignore[method-assign] # once
    await house.hear("hello")
    await house.settle()
    assert house.sent == []
    assert await house.rows("SELECT state, error_code FROM outbox") == [("failed", "not_owner")]


@pytest.mark.parametrize(("column", "outcome"), [("blocked_at", "blocked"), ("opted_out_at", "opted_out")])
async def test_who_may_not_be_answered_is_not(house: House, column: str, outcome: str) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change(f"UPDATE contacts SET {column} = 1")
    await house.hear("hello again")
    await house.settle()
    assert house.sent == ["re: hello"]
    assert len(house.responder.asked) == 1
    assert (await house.outcomes())[-1] == ("hello again", outcome)
