"""Nothing is sent in a conversation that a person owns, nor to who is blocked or opted out."""

from __future__ import annotations

import pytest

from convoq.ai.base import ReplyContext
from convoq.conversations.pacing import Held
from convoq.conversations.records import Answer, OutboxRow, Turn
from convoq.conversations.rules import Refusal
from convoq.conversations.turn_steps import Uncommitted
from convoq.loopback.faults import too_many
from tests.handlers.house import ANA_SMS, OUR_SMS, House, about


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


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE contacts SET opted_out_at = 1", "opted_out"),
        ("UPDATE contacts SET blocked_at = 1", "blocked"),
        ("UPDATE conversations SET owner = 'human'", "not_owner"),
        ("UPDATE threads SET last_inbound_at = 0", "window"),
    ],
)
async def test_the_rules_are_looked_at_in_the_transaction_that_marks_a_part_as_sending(
    house: House, monkeypatch: pytest.MonkeyPatch, change: str, code: str
) -> None:
    mark_sending = house.outbox.mark_sending

    async def changed_just_before(row: OutboxRow, token: str) -> OutboxRow | Refusal | Held | None:
        await house.change(change)
        return await mark_sending(row, token)

    house.twilio.fail_next(too_many("1"))
    await house.hear("hello")
    await house.step()
    monkeypatch.setattr(house.outbox, "mark_sending", changed_just_before)
    await house.settle()
    assert (house.sent, house.twilio.requests) == ([], 1)
    state = "cancelled" if code == "not_owner" else "failed"  # nothing is wrong
    assert await house.rows("SELECT state, error_code FROM outbox") == [(state, code)]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ("UPDATE contacts SET opted_out_at = 1", "opted_out"),
        ("UPDATE contacts SET blocked_at = 1", "blocked"),
        ("UPDATE conversations SET owner = 'human'", "human"),
    ],
)
async def test_a_reply_that_may_not_be_given_any_more_is_not_committed(
    house: House, monkeypatch: pytest.MonkeyPatch, change: str, outcome: str
) -> None:
    commit = house.turns.commit

    async def changed_just_before(turn: Turn, answer: Answer) -> OutboxRow | Held | Uncommitted:
        await house.change(change)
        return await commit(turn, answer)

    monkeypatch.setattr(house.turns, "commit", changed_just_before)
    await house.hear("hello")
    await house.settle()
    assert await house.rows("SELECT 1 FROM messages WHERE direction = 'out'") == []
    assert await house.outcomes() == [("hello", outcome)]


async def test_what_was_written_while_blocked_is_not_answered_later(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change("UPDATE contacts SET blocked_at = 1")
    await house.hear("buy this")
    await house.settle()
    await house.change("UPDATE contacts SET blocked_at = NULL")
    await house.hear("are you open?")
    await house.settle()
    assert house.sent == ["re: hello", "re: are you open?"]


async def test_an_answer_that_waited_for_a_day_is_stale(house: House) -> None:
    house.twilio.fail_next(too_many("1"))
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.step()
    house.clock.advance(86_400)
    await house.settle()
    assert house.sent == []
    assert await house.rows("SELECT state, error_code FROM outbox") == [("failed", "stale")]


async def test_a_person_who_takes_over_after_the_first_part_stops_the_others(house: House) -> None:
    commit = house.turns.commit

    async def then_taken_over(turn: Turn, answer: Answer) -> OutboxRow | Held | Uncommitted:
        done = await commit(turn, answer)
        await house.change("UPDATE conversations SET owner = 'human'")
        return done

    house.turns.commit = then_taken_over  # type: ignore[method-assign] # once
    house.responder.script = ["word " * 800]
    await house.hear("hello")
    await house.settle()
    assert len(house.sent) == 1
    states = await house.rows("SELECT DISTINCT state, error_code FROM outbox WHERE part > 0")
    assert states == [("cancelled", "not_owner")]


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
