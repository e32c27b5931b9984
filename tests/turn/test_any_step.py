"""What happens at any one step of a turn: a STOP, a take-over, a cancel, a message, a death, a late worker.

Each test goes through all steps of a turn whose reply has two parts, one person a step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from convoq.ai.base import ReplyContext
from convoq.conversations.pausing import thread_scope
from convoq.conversations.turns import MOST_SUPERSEDED
from convoq.db import Database
from convoq.queue.base import JobFilter
from convoq.settings import ConversationSettings
from tests.clock import ManualClock
from tests.handlers.house import House, open_house, waiting
from tests.turn.stepping import SteppedWorker, Steps, stepping
from tests.turn.timeline import block

pytestmark = pytest.mark.long

TRIES_OF_LAST = "SELECT tries FROM messages WHERE direction = 'in' ORDER BY id DESC LIMIT 1"
MOST_STEPS = 40  # of one turn
TYPING = ConversationSettings(quiet_window=3, max_wait=20)


def long_reply(context: ReplyContext) -> str:
    """Two parts; the first begins with what it answers."""
    return " ".join(["+".join(waiting(context)), *(f"word{number}" for number in range(300))])


def person(number: int) -> str:
    return f"whatsapp:+1555000{number:04d}"


def sent_to(house: House, who: str) -> list[str]:
    """What the AI has answered: a reply's first part by what it answers, its second as "more"."""
    words = [message.body.split()[0] for message in house.twilio.messages if message.to == who]
    words = [word for word in words if not word.startswith("<")]  # what tells of a person of ours
    return ["more" if word.startswith("word") else word for word in words]


async def turn_at_step(steps: Steps, number: int) -> SteppedWorker | None:
    """The turn of this number's person, that many steps far; None if it has ended by then."""
    await steps.house.hear_at_once("a", sender=person(number))
    worker = await steps.claim()
    for _ in range(number):
        if worker.done:
            return None
        await worker.go()
    return None if worker.done else worker


async def at_any_step(
    house: House, then: Callable[[Steps, SteppedWorker, str], Awaitable[None]], *, least: int = 10
) -> None:
    house.responder.always = long_reply
    async with stepping(house) as steps:
        for number in range(MOST_STEPS):
            worker = await turn_at_step(steps, number)
            if worker is None:
                assert number >= least, f"the turn ended after {number} steps"
                return
            await then(steps, worker, person(number))
    raise AssertionError("the turn has no end")


def may_have_left(worker: SteppedWorker, house: House, who: str) -> int:
    """Parts that are sent, or whose request is on its way, as far as the store can know."""
    return len(sent_to(house, who)) + bool({"request", "send"} & worker.at)


async def stop(house: House, who: str) -> None:
    await house.hear_at_once("STOP", sender=who)


async def someone_takes_over(house: House, who: str) -> None:
    await house.acts().take_over(await conversation_of(house, who))


async def someone_pauses(house: House, who: str) -> None:
    await house.acts().pause(thread_scope(await thread_of(house, who)))


async def someone_blocks(house: House, who: str) -> None:
    await block(house, who)


async def cancel(house: House, who: str) -> None:
    """A running turn can be cancelled only when its lease is over."""
    house.clock.advance(house.queue.lease + 1)
    [(lane,)] = await house.rows("SELECT lane FROM threads WHERE id = ?", await thread_of(house, who))
    assert await house.engine.cancel(JobFilter(ordering_key=lane)) == 1


async def conversation_of(house: House, who: str) -> int:
    thread = await thread_of(house, who)
    [(conversation,)] = await house.rows("SELECT id FROM conversations WHERE thread_id = ?", thread)
    return int(conversation)


async def thread_of(house: House, who: str) -> int:
    [(thread,)] = await house.rows(
        "SELECT t.id FROM threads AS t JOIN contacts AS c ON c.id = t.contact_id WHERE c.address = ?", who
    )
    return int(thread)


@pytest.mark.parametrize("ending", [stop, someone_takes_over, someone_pauses, someone_blocks, cancel])
async def test_nothing_that_had_not_left_goes_out_after_it(
    house: House, ending: Callable[[House, str], Awaitable[None]]
) -> None:
    async def end_it(steps: Steps, worker: SteppedWorker, who: str) -> None:
        left = may_have_left(worker, house, who)
        await ending(house, who)
        await worker.finish()
        await house.settle()
        assert len(sent_to(house, who)) <= left
        assert not await house.rows("SELECT 1 FROM outbox WHERE state IN ('ready', 'sending', 'ambiguous')")
        assert not [body for body, outcome in await house.outcomes() if outcome is None]

    await at_any_step(house, end_it)


async def test_after_a_stop_and_a_start_the_old_answer_stays_back(house: House) -> None:
    async def stop_and_start(steps: Steps, worker: SteppedWorker, who: str) -> None:
        left = sent_to(house, who)
        asked = len(house.responder.asked)
        for text in ("STOP", "between", "START", "new"):
            await house.hear_at_once(text, sender=who)
        worker.kill()
        await steps.recover(worker)
        await house.settle()
        assert sent_to(house, who)[len(left) :] == ["START+new", "more"]
        lines = [line.text for context in house.responder.asked[asked:] for line in context.lines]
        assert "between" not in lines

    await at_any_step(house, stop_and_start)


async def test_a_message_at_any_step_is_in_the_reply_or_answered_by_the_next(house: House) -> None:
    async def write(steps: Steps, worker: SteppedWorker, who: str) -> None:
        before_the_commit = not await house.rows(
            "SELECT 1 FROM messages WHERE direction = 'out' AND thread_id = ?", await thread_of(house, who)
        )
        await house.hear_at_once("b", sender=who)
        await worker.finish()
        await house.settle()
        said = [word for word in sent_to(house, who) if word != "more"]
        assert said == (["a+b"] if before_the_commit else ["a", "b"])

    await at_any_step(house, write)


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed at once", "when the lease ends"])
async def test_a_death_at_any_step_loses_and_doubles_nothing(house: House, noticed: bool) -> None:
    async def die(steps: Steps, worker: SteppedWorker, who: str) -> None:
        worker.kill()
        if noticed:
            await steps.recover(worker)
        await house.settle()
        assert sent_to(house, who) == ["a", "more"]

    await at_any_step(house, die)


async def lose_the_lane(steps: Steps, worker: SteppedWorker) -> None:
    """It goes on at once, while the next one works: not even its time is up."""
    worker.stalled = True
    await steps.recover(worker)
    [claim] = await steps.house.claim(1)
    other = await steps.start(claim)
    while not (worker.done and other.done):
        for one in (other, worker):
            if not one.done:
                await one.go()
    await steps.house.settle()


async def test_a_worker_that_loses_its_lane_at_any_step_loses_and_doubles_nothing(house: House) -> None:
    async def go_on(steps: Steps, worker: SteppedWorker, who: str) -> None:
        await lose_the_lane(steps, worker)
        assert sent_to(house, who) == ["a", "more"]

    await at_any_step(house, go_on)


async def test_a_turn_that_lost_its_token_at_any_step_costs_its_message_no_try(house: House) -> None:
    async def go_on(steps: Steps, worker: SteppedWorker, who: str) -> None:
        await lose_the_lane(steps, worker)
        assert await house.rows(TRIES_OF_LAST) == [(1,)]

    await at_any_step(house, go_on)


async def test_a_turn_that_fails_after_it_lost_its_token_costs_its_message_neither_a_try_nor_a_failure(
    house: House,
) -> None:
    await house.hear_at_once("a")
    async with stepping(house) as steps:
        house.responder.script = [RuntimeError("late"), "re: a"]
        late = await steps.claim()
        await late.until("fail")
        late.stalled = True
        await steps.recover(late)
        owner = await steps.claim()
        await owner.until("commit")
        await late.finish()
        await owner.finish()
    assert await house.rows("SELECT tries, failures FROM messages WHERE direction = 'in'") == [(1, 0)]


async def test_what_was_handed_back_before_anybody_answered_is_answered(house: House) -> None:
    async def hand_over_and_back(steps: Steps, worker: SteppedWorker, who: str) -> None:
        conversation = await conversation_of(house, who)
        await house.acts().take_over(conversation)
        await house.acts().release(conversation)
        await worker.finish()
        await house.settle()
        assert sent_to(house, who) == ["a", "more"]

    await at_any_step(house, hand_over_and_back)


async def test_a_newer_message_ends_the_call_and_what_it_cost_is_kept(house: House) -> None:
    async with stepping(house) as steps:
        await house.hear_at_once("a")
        worker = await steps.claim()
        await worker.until("reply")
        await worker.go("reply")  # paid for, and not yet looked at
        await house.hear_at_once("b")
        await worker.finish()
    assert house.sent == ["re: a + b"]
    assert await house.rows("SELECT count(*), sum(input_tokens) FROM model_calls") == [(2, 6)]


async def test_who_writes_at_every_step_has_an_answer_after_two_drafts_that_gave_way(house: House) -> None:
    async with stepping(house) as steps:
        await house.hear_at_once("0")
        worker = await steps.claim()
        for number in range(1, 200):
            if house.sent:
                break
            await house.hear_at_once(str(number))
            await worker.go()
        worker.kill()
        asked = len(house.responder.asked)
    assert asked <= MOST_SUPERSEDED + 1
    assert house.sent[0].startswith("re: 0 + 1")


async def test_who_keeps_typing_is_answered_within_the_longest_wait_whatever_restarts(
    database: Database, clock: ManualClock
) -> None:
    began = clock.now()
    for number in range(30):
        async with open_house(database, clock, timing=TYPING) as house:  # a process of its own for each message
            await house.hear_at_once(f"m{number}")
            await house.turn()
            if house.sent:
                break
            clock.advance(2)
            await house.turn()
            if house.sent:
                break
    assert clock.now() - began <= TYPING.max_wait * 1000
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}
