"""Two workers at one thread, one of them late: what each rule of the turn keeps from happening, step by step.

Each scenario holds with the rule and fails where MUTANTS takes it out. Beside test_counterexamples.py, where a rule is
asked for by itself, here real handlers stand still between their steps, and the store loses its unsynced tail for real.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from convoq.conversations import lifecycle, outbox, rows, settling, stopping, turns
from convoq.conversations.records import OutboxRow
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.errors import Fenced
from convoq.handlers.answer import AnswerHandler
from convoq.handlers.base import ClaimContext
from convoq.handlers.outbox import Delivery
from convoq.handlers.receive import ReceiveHandler
from convoq.jobs import ProcessAiResponse, turn_job
from convoq.loopback.faults import refused
from convoq.queue.base import JobFilter
from tests.clock import ManualClock
from tests.handlers.house import ANA_SMS, OUR_SMS, RECONCILE_AFTER, House, open_house
from tests.turn.mutations import join_claimed_jobs
from tests.turn.stepping import SteppedWorker, Steps, stepping

LONG = " ".join(f"word{number}" for number in range(300))  # two parts


async def all_is_answered(house: House) -> None:
    await house.settle()
    assert [body for body, outcome in await house.outcomes() if outcome is None] == []


async def late_at(steps: Steps, step: str) -> SteppedWorker:
    """A worker of a turn that stands before this step and has lost its lane."""
    worker = await steps.claim()
    await worker.until(step)
    worker.stalled = True
    await steps.recover(worker)
    return worker


async def m1_a_turn_that_was_fenced_by_a_dead_one_leaves_its_job(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    late = await late_at(steps, "look")
    owner = await steps.claim()
    await owner.until("commit")
    await late.until("reply")  # it has begun, and fenced the owner
    late.kill()
    await owner.finish()
    await all_is_answered(steps.house)


async def m2_two_workers_do_not_fence_each_other_without_end(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    late = await late_at(steps, "look")
    owner = await steps.claim()
    await owner.until("commit")
    for worker in (late, owner) * 2:
        if not worker.done:
            await worker.go()  # the owner's commit, when the late one has begun; the late one's, when the owner has
        while not worker.done and "commit" not in worker.at:
            await worker.go()
    assert late.done or owner.done, "neither comes to an end"
    await late.finish()
    await all_is_answered(steps.house)


async def m4_a_part_under_way_at_a_stop_is_not_sent_after_a_start(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    worker = await steps.claim()
    await worker.until("send")
    worker.kill()
    for text in ("STOP", "START"):
        await steps.house.hear_at_once(text)
    await steps.advance(steps.house.queue.lease + 1)
    await steps.house.settle()
    assert "re: a" not in steps.house.sent


async def m5_a_turn_finds_the_message_that_it_was_enqueued_for(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    await steps.house.settle()
    await steps.house.hear("b")
    taking_in = await steps.claim(intake=True)
    while not taking_in.done:
        await taking_in.go()
        await steps.house.turn()
    await all_is_answered(steps.house)


async def m6_what_is_recorded_after_the_last_look_is_answered(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    worker = await steps.claim()
    await worker.until("end")
    await steps.house.hear_at_once("b")
    await worker.finish()
    await all_is_answered(steps.house)


async def m7_a_late_refusal_takes_nothing_from_what_the_next_worker_sends(steps: Steps) -> None:
    house = steps.house
    house.responder.script = [LONG]
    house.twilio.fail_next(refused(21211))
    await house.hear_at_once("a")
    late = await steps.claim()
    await late.until("mark_failed")
    late.stalled = True
    await steps.advance(house.queue.lease + 1)
    owner = await steps.claim()
    await owner.until("mark_sent")  # of the first part
    await late.finish()
    await owner.finish()
    await house.settle()
    assert await house.outbox_states() == ["sent", "sent"]


async def m7_a_late_turn_commits_no_second_reply(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    late = await late_at(steps, "commit")
    await steps.house.hear_at_once("b")
    await (await steps.claim()).finish()
    await late.finish()
    await steps.house.settle()
    assert steps.house.sent == ["re: a + b"]


async def m8_a_reply_has_seen_what_is_recorded_before_its_commit(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    worker = await steps.claim()
    await worker.until("commit")
    await steps.house.hear_at_once("b")
    await worker.finish()
    assert steps.house.sent == ["re: a + b"]


async def m9_a_message_that_no_model_was_shown_is_not_answered(steps: Steps) -> None:
    """At the third draft the reply is committed beside a newer message."""
    await steps.house.hear_at_once("a")
    worker = await steps.claim()
    for text in ("b", "c", "d"):
        await worker.until("commit")
        await steps.house.hear_at_once(text)
        await worker.go()
    await worker.finish()
    assert steps.house.sent == ["re: a + b + c", "re: d"]


async def m10_a_late_worker_sends_nothing_of_a_cancelled_message(steps: Steps) -> None:
    job_id = await steps.house.send("your table is ready", to=ANA_SMS, sender=OUR_SMS)
    late = await late_at(steps, "announce")
    assert await steps.house.engine.cancel(JobFilter(ids=(job_id,))) == 1
    await late.finish()
    await steps.house.settle()
    assert steps.house.sent == []


async def m11_what_was_too_late_to_send_goes_out_before_the_next_reply(steps: Steps) -> None:
    await steps.house.hear_at_once("a")
    worker = await steps.claim()
    await worker.until("request")
    await steps.house.hear_at_once("b")
    await steps.advance(RECONCILE_AFTER)  # others may look for it by now
    await worker.finish()
    await steps.house.settle()
    assert steps.house.sent == ["re: a", "re: b"]


# --- The rules, taken out


def swallow_fenced(patch: pytest.MonkeyPatch, *, again: bool) -> None:
    """The end of a turn that was fenced: done (its job is acked), or from the start (`again`)."""

    async def handle(handler: AnswerHandler, context: ClaimContext) -> None:
        thread = ProcessAiResponse.model_validate_json(context.claim.jobs[0].payload).thread
        while True:
            try:
                return await handler._run(thread, context)
            except Fenced:
                if not again:
                    return None

    patch.setattr(AnswerHandler, "__call__", handle)


def enqueue_before_record(patch: pytest.MonkeyPatch) -> None:
    async def take_in(handler: ReceiveHandler, context: ClaimContext) -> None:
        follow_ups = handler._begin()

        def enqueue(tx: Transaction, _: object) -> None:
            for thread, lane in tx.execute("SELECT id, lane FROM threads").fetchall():
                follow_ups.enqueue(tx, turn_job(thread, lane))

        await handler._recorder.record([], enqueue)
        await handler._recorder.record(handler._read(context), lambda *_: None)

    patch.setattr(ReceiveHandler, "__call__", take_in)


def no_token(patch: pytest.MonkeyPatch) -> None:
    for module in (turns, outbox):
        patch.setattr(module, "require_token", lambda *_: None)


def no_token_and_no_look_at_what_is_shown(patch: pytest.MonkeyPatch) -> None:
    no_token(patch)
    patch.setattr(turns, "all_wait", lambda *_: True)


def answer_all_that_waits(patch: pytest.MonkeyPatch) -> None:
    commit = turns._commit

    def all_of_it(tx: Transaction, turn: Any, *values: Any) -> Any:
        row = commit(tx, turn, *values)
        tx.execute("UPDATE messages SET outcome = 'answered' WHERE direction = 'in' AND outcome IS NULL")
        return row

    patch.setattr(turns, "_commit", all_of_it)


def go_on_without_what_pends(patch: pytest.MonkeyPatch) -> None:
    async def first_alone(delivery: Delivery, _: int, token: str, *, first: OutboxRow | None = None) -> None:
        if first is not None:
            await delivery._request(first, token)

    patch.setattr(Delivery, "run", first_alone)
    patch.setattr(rows, "pends", lambda *_: False)


Scenario = Callable[[Steps], Awaitable[None]]
#: What is taken out -> what it breaks, how it is taken out, and what is then seen.
#: The AI's parts of a conversation that nobody answers any more are kept back by that, too.
LEAVES_THE_OWNER = "UPDATE conversations SET owner = owner WHERE ? IS NULL AND ? = 0 AND id = ?"
MUTANTS: dict[str, tuple[Scenario, Callable[[pytest.MonkeyPatch], object], str]] = {
    "M1 a fenced turn acks": (
        m1_a_turn_that_was_fenced_by_a_dead_one_leaves_its_job,
        lambda patch: swallow_fenced(patch, again=False),
        "['a'] == []",
    ),
    "M2 a fenced turn begins again": (
        m2_two_workers_do_not_fence_each_other_without_end,
        lambda patch: swallow_fenced(patch, again=True),
        "neither comes to an end",
    ),
    "M4 STOP revokes nothing that is under way": (
        m4_a_part_under_way_at_a_stop_is_not_sent_after_a_start,
        lambda patch: (
            patch.setattr(stopping, "REVOKE_UNDER_WAY", "UPDATE outbox SET revoked = NULL WHERE :code = 0"),
            patch.setattr(lifecycle, "MOVE_OWNER", LEAVES_THE_OWNER),
        ),
        "'re: a' not in ['re: a', 're: START']",
    ),
    "M5 enqueued before it is recorded": (
        m5_a_turn_finds_the_message_that_it_was_enqueued_for,
        enqueue_before_record,
        "['b'] == []",
    ),
    "M6 a claimed turn is joined": (
        m6_what_is_recorded_after_the_last_look_is_answered,
        join_claimed_jobs,
        "['b'] == []",
    ),
    "M7 no token": (
        m7_a_late_refusal_takes_nothing_from_what_the_next_worker_sends,
        no_token,
        "['sent', 'failed']",
    ),
    "M7 no token, and what is shown need not wait": (
        m7_a_late_turn_commits_no_second_reply,
        no_token_and_no_look_at_what_is_shown,
        "['re: a + b', 're: a']",
    ),
    "M8 the commit looks for nothing newer": (
        m8_a_reply_has_seen_what_is_recorded_before_its_commit,
        lambda patch: patch.setattr(turns, "newer_waits", lambda *_: False),
        "['re: a', 're: b'] == ['re: a + b']",
    ),
    "M9 all that waits is answered": (
        m9_a_message_that_no_model_was_shown_is_not_answered,
        answer_all_that_waits,
        "['re: a + b + c'] == ['re: a + b + c', 're: d']",
    ),
    "M10 a cancelled message has no row": (
        m10_a_late_worker_sends_nothing_of_a_cancelled_message,
        lambda patch: patch.setattr(settling, "_record_unsent", lambda *_: None),
        "['your table is ready'] == []",
    ),
    "M11 a turn goes on beside what pends": (
        m11_what_was_too_late_to_send_goes_out_before_the_next_reply,
        go_on_without_what_pends,
        "['re: b'] == ['re: a', 're: b']",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_with_its_rule_the_scenario_holds(house: House, name: str) -> None:
    async with stepping(house) as steps:
        await MUTANTS[name][0](steps)


@pytest.mark.parametrize("name", MUTANTS)
async def test_without_its_rule_the_scenario_fails(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, mutate, seen = MUTANTS[name]
    mutate(monkeypatch)
    async with stepping(house) as steps:
        with pytest.raises(AssertionError, match=re.escape(seen)):
            await scenario(steps)


async def two_replies_after_a_power_cut(directory: Path, clock: ManualClock) -> list[str]:
    """A turn begins, the store loses that with all else that was not fsynced, and the turn goes on; what is sent."""
    path, restored = directory / "lost" / "convoq.db", directory / "restored" / "convoq.db"
    async with (
        await Database.open(path, clock=clock) as database,
        open_house(database, clock) as house,
        stepping(house) as steps,
    ):
        await house.hear("a")  # fsynced
        shutil.copytree(path.parent, restored.parent, ignore=shutil.ignore_patterns("*-shm", "*.run"))
        await house.take_in()
        late = await steps.claim()
        await late.until("commit")
        async with await Database.open(restored, clock=clock) as store, open_house(store, clock) as other:
            await other.hear("b")
            await other.settle()
            house.turns._database = house.outbox._database = store
            await late.finish()
            await other.settle()
            return other.sent + house.sent


async def test_m3_what_began_before_the_store_lost_it_commits_nothing(tmp_path: Path, clock: ManualClock) -> None:
    assert await two_replies_after_a_power_cut(tmp_path, clock) == ["re: a + b"]


async def test_m3_counted_tokens_are_given_out_twice(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(tx: Transaction, thread: int) -> str:
        """Where what is shown need not wait either; each of the two is enough."""
        tx.execute("UPDATE threads SET token = coalesce(token, 0) + 1 WHERE id = ?", (thread,))
        return str(tx.execute("SELECT token FROM threads WHERE id = ?", (thread,)).fetchone()[0])

    monkeypatch.setattr(turns, "take_token", count)
    monkeypatch.setattr(turns, "all_wait", lambda *_: True)
    assert await two_replies_after_a_power_cut(tmp_path, clock) == ["re: a + b", "re: a"]
