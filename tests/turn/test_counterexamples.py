"""What happens without each rule of the turn: the scenario holds with it, and fails where the rule is taken out.

Each scenario is a function that returns when it holds and raises AssertionError when it does not; MUTANTS takes its
rule out. A rule whose loss another one catches as well is taken out together with that one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from convoq.conversations import choosing, lifecycle, rows, settling, stopping, turns
from convoq.conversations.pacing import Held
from convoq.conversations.records import Answer, OutboxRow, Turn
from convoq.conversations.states import Outcome
from convoq.db.transaction import Transaction
from convoq.errors import Fenced
from convoq.handlers.answer import AnswerHandler
from convoq.handlers.base import ClaimContext
from convoq.handlers.outbox import Delivery
from convoq.jobs import turn_job
from convoq.loopback.faults import reset
from convoq.queue.base import JobFilter
from tests.handlers.house import House
from tests.turn.mutations import join_claimed_jobs

LEASE = 61.0
ANSWER = Answer(text="late", parts=("late",), model="m", written_at=1)


async def unanswered(house: House) -> list[str]:
    return [body for body, outcome in await house.outcomes() if outcome is None]


async def begin(house: House) -> Turn:
    """A turn of the first thread, begun by another worker."""
    step = await house.turns.look(1, None, "0")
    assert isinstance(step, Turn)
    return step


def once(house: House, name: str, then: Callable[[], Awaitable[Any]], *, before: bool = False) -> None:
    """Something happens right after (or before) the next call of a method of `house.turns`."""
    original = getattr(house.turns, name)

    async def wrapped(*args: Any) -> Any:
        setattr(house.turns, name, original)
        if before:
            await then()
        result = await original(*args)
        if not before:
            await then()
        return result

    setattr(house.turns, name, wrapped)


async def m1_a_fenced_turn_leaves_the_job(house: House) -> None:
    await house.hear_at_once("a")
    once(house, "commit", lambda: begin(house), before=True)  # a late worker begins, and dies
    await house.turn()
    await house.settle()
    assert await unanswered(house) == []


async def m2_a_fenced_turn_does_not_begin_again_in_its_claim(house: House) -> None:
    async def overtaken(_: object) -> str:
        assert len(house.responder.asked) < 5, "each fences the other, without end"
        await begin(house)
        return "fenced"

    house.responder.always = overtaken
    await house.hear_at_once("a")
    await house.turn()
    assert len(house.responder.asked) == 1


async def m3_a_token_that_a_power_cut_took_back_is_not_given_out_again(house: House) -> None:
    await house.hear_at_once("a")
    [before] = await house.rows("SELECT token FROM threads")
    late = await begin(house)
    await house.change("UPDATE threads SET token = ?", *before)  # the log loses its tail
    await begin(house)
    try:
        await house.turns.commit(late, ANSWER)
    except Fenced:
        return
    raise AssertionError("two turns hold one token")


async def m4_what_is_under_way_at_a_stop_is_not_sent_after_a_start(house: House) -> None:
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("a")
    await house.step()
    assert await house.outbox_states() == ["ambiguous"]
    await house.hear("STOP")
    await house.hear("START")
    await house.settle()
    assert "re: a" not in house.sent


async def m5_recording_and_waking_are_one(house: House) -> None:
    await house.hear("a")
    await house.take_in()
    await house.settle()
    assert await unanswered(house) == []


async def m6_what_comes_after_the_last_look_has_a_job_of_its_own(house: House) -> None:
    look = house.turns.look

    async def last_look(*args: Any) -> Any:
        step = await look(*args)
        if step is None:
            house.turns.look = look  # type: ignore[method-assign] # once
            await house.hear_at_once("b")
        return step

    house.turns.look = last_look  # type: ignore[method-assign,assignment] # see above
    await house.hear_at_once("a")
    await house.turn()
    await house.settle()
    assert await unanswered(house) == []


async def m7_a_late_turn_commits_no_second_reply(house: House) -> None:
    await house.hear_at_once("a")
    late = await begin(house)
    await house.settle()
    try:
        await house.turns.commit(late, ANSWER)
    except Fenced:
        return
    except Exception as error:
        raise AssertionError("only that a message has one source kept a second reply out") from error
    raise AssertionError("two replies to one message")


async def m8_a_reply_has_seen_what_was_recorded_before_its_commit(house: House) -> None:
    await house.hear_at_once("a")
    once(house, "commit", lambda: house.hear_at_once("b"), before=True)
    await house.settle()
    assert house.sent == ["re: a + b"]


async def m9_answered_is_what_was_shown(house: House) -> None:
    for number in range(choosing.MOST_SHOWN + 5):
        await house.hear(str(number))
    while await house.take_in():
        pass
    await house.turns.commit(await begin(house), ANSWER)
    assert len(await unanswered(house)) == 5


async def m10_a_late_worker_sends_nothing_of_a_cancelled_message(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    job_id = await house.send("your table is ready")
    [late] = await house.claim(1)
    house.clock.advance(LEASE)
    assert await house.engine.cancel(JobFilter(ids=(job_id,))) == 1
    await house.handlers[late.kind](ClaimContext(late, house.queue))
    assert house.sent == ["re: hello"]


async def m11_what_pends_goes_out_before_the_next_reply(house: House) -> None:
    async def too_late() -> None:
        house.clock.advance(30)  # the process stood still before its request: the part is ready again
        await house.hear_at_once("b")

    await house.hear_at_once("a")
    once(house, "commit", too_late)
    await house.settle()
    assert house.sent == ["re: a", "re: b"]


def acks_when_fenced(patch: pytest.MonkeyPatch) -> None:
    async def run(handler: AnswerHandler, context: ClaimContext) -> None:
        try:
            await handler._run(1, context)
        except Fenced:
            return

    patch.setattr(AnswerHandler, "__call__", run)


def begins_again_when_fenced(patch: pytest.MonkeyPatch) -> None:
    async def run(handler: AnswerHandler, context: ClaimContext) -> None:
        while True:
            try:
                return await handler._run(1, context)
            except Fenced:
                continue

    patch.setattr(AnswerHandler, "__call__", run)


def counts_tokens(patch: pytest.MonkeyPatch) -> None:
    def take(tx: Transaction, thread_id: int) -> str:
        (last,) = tx.execute("SELECT token FROM threads WHERE id = ?", (thread_id,)).fetchone()
        token = str(int(last or 0) + 1)
        tx.execute("UPDATE threads SET token = ? WHERE id = ?", (token, thread_id))
        return token

    patch.setattr(turns, "take_token", take)


def enqueues_before_it_records(patch: pytest.MonkeyPatch) -> None:
    from convoq.handlers import receive

    take_in = House.take_in

    async def early(house: House) -> int:
        await house.database.write(house.joined.enqueue, turn_job(1, "turn|early"))
        await house.turn()
        return await take_in(house)

    patch.setattr(House, "take_in", early)
    patch.setattr(receive, "enqueue_turns", lambda *_: None)


def answers_all_that_waits(patch: pytest.MonkeyPatch) -> None:
    commit = turns._commit

    def all_of_them(tx: Transaction, turn: Turn, *args: Any) -> OutboxRow | Held:
        row = commit(tx, turn, *args)
        stopping.conclude_waiting(tx, turn.thread_id, Outcome.ANSWERED)
        return row

    patch.setattr(turns, "_commit", all_of_them)


def goes_on_without_what_pends(patch: pytest.MonkeyPatch) -> None:
    async def first_alone(delivery: Delivery, _: int, token: str, *, first: OutboxRow | None = None) -> None:
        if first is not None:
            await delivery._request(first, token)

    patch.setattr(Delivery, "run", first_alone)
    patch.setattr(rows, "pends", lambda *_: False)


Scenario = Callable[[House], Awaitable[None]]
Mutation = Callable[[pytest.MonkeyPatch], object]
#: The AI's parts of a conversation that nobody answers any more are kept back by that, too.
LEAVES_THE_OWNER = "UPDATE conversations SET owner = owner WHERE ? IS NULL AND ? = 0 AND id = ?"
MUTANTS: dict[str, tuple[Scenario, Mutation]] = {
    "M1": (m1_a_fenced_turn_leaves_the_job, acks_when_fenced),
    "M2": (m2_a_fenced_turn_does_not_begin_again_in_its_claim, begins_again_when_fenced),
    "M3": (m3_a_token_that_a_power_cut_took_back_is_not_given_out_again, counts_tokens),
    "M4": (
        m4_what_is_under_way_at_a_stop_is_not_sent_after_a_start,
        lambda patch: (
            patch.setattr(stopping, "REVOKE_UNDER_WAY", "UPDATE outbox SET revoked = NULL WHERE :code = 0"),
            patch.setattr(lifecycle, "MOVE_OWNER", LEAVES_THE_OWNER),
        ),
    ),
    "M5": (m5_recording_and_waking_are_one, enqueues_before_it_records),
    "M6": (
        m6_what_comes_after_the_last_look_has_a_job_of_its_own,
        join_claimed_jobs,
    ),
    "M7": (
        m7_a_late_turn_commits_no_second_reply,
        lambda patch: (
            patch.setattr(turns, "require_token", lambda *_: None),
            patch.setattr(turns, "all_wait", lambda *_: True),
        ),
    ),
    "M8": (
        m8_a_reply_has_seen_what_was_recorded_before_its_commit,
        lambda patch: patch.setattr(turns, "newer_waits", lambda *_: False),
    ),
    "M9": (m9_answered_is_what_was_shown, answers_all_that_waits),
    "M10": (
        m10_a_late_worker_sends_nothing_of_a_cancelled_message,
        lambda patch: patch.setattr(settling, "_record_unsent", lambda *_: None),
    ),
    "M11": (
        m11_what_pends_goes_out_before_the_next_reply,
        goes_on_without_what_pends,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_with_its_rule_the_scenario_holds(house: House, name: str) -> None:
    await MUTANTS[name][0](house)


@pytest.mark.parametrize("name", MUTANTS)
async def test_without_its_rule_the_scenario_fails(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, mutate = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        await scenario(house)
