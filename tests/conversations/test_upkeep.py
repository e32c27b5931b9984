"""Silence: conversations become idle and close, never against a message that was accepted before."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from convoq.conversations.silence import find_silent, move_silent
from convoq.conversations.states import ALLOWED, CloseReason, IllegalTransition, Status, check_transition
from convoq.conversations.threads import Thread
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.errors import Snooze, Unrecoverable
from convoq.handlers import upkeep
from convoq.loopback.faults import too_many
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import ANA_SMS, BEN, OUR_SMS, TIMING, House
from tests.stores import only_sqlite
from tests.write_ahead_log import end_of

BEN_SMS = "+15551230002"
IDLE, EXPIRED = TIMING.idle_after, TIMING.expire_after


@pytest.fixture
async def met(house: House) -> House:
    """Ana has written and was answered."""
    await house.hear("hello")
    await house.settle()
    return house


def nobody(_: Transaction, threads: Sequence[Thread]) -> None:
    """Nothing is to be said."""
    assert not threads


async def statuses(house: House) -> list[tuple[str, str | None]]:
    return await house.rows("SELECT status, closed_reason FROM conversations ORDER BY id")


async def transitions(house: House) -> list[tuple[str, str, str | None, str]]:
    sql = "SELECT who, reason, status_before, status_after FROM transitions ORDER BY id"
    return await house.rows(sql)


# --- Idle and expired


async def test_a_silent_conversation_becomes_idle(met: House) -> None:
    met.clock.advance(IDLE)
    await met.upkeep("process_idle")
    assert await statuses(met) == [("idle", None)]


async def test_a_conversation_is_not_idle_before_its_time(met: House) -> None:
    met.clock.advance(IDLE - 1)
    await met.upkeep("process_idle")
    assert await statuses(met) == [("active", None)]


async def test_silence_begins_with_the_last_line_of_either_side(house: House) -> None:
    house.twilio.fail_next(too_many("60"))
    await house.hear("hello")
    await house.settle()
    house.clock.advance(IDLE - 60)
    await house.send("a notice")
    await house.settle()
    house.clock.advance(IDLE - 1)
    await house.upkeep("process_idle")
    assert await statuses(house) == [("active", None)]


async def test_a_long_silent_conversation_is_closed(met: House) -> None:
    met.clock.advance(EXPIRED)
    await met.upkeep("process_expired")
    assert await statuses(met) == [("closed", "expired")]


async def test_an_idle_conversation_is_closed_too(met: House) -> None:
    met.clock.advance(IDLE)
    await met.upkeep("process_idle")
    met.clock.advance(EXPIRED)
    await met.upkeep("process_expired")
    assert await statuses(met) == [("closed", "expired")]


@pytest.mark.parametrize(("kind", "silence"), [("process_idle", IDLE), ("process_expired", EXPIRED)])
async def test_upkeep_twice_is_harmless(met: House, kind: str, silence: float) -> None:
    met.clock.advance(silence)
    await met.upkeep(kind)
    before = await transitions(met)
    await met.upkeep(kind)
    assert await transitions(met) == before


@pytest.mark.parametrize(("kind", "status"), [("process_idle", "idle"), ("process_expired", "closed")])
async def test_upkeep_goes_through_all_of_them_in_batches(
    met: House, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    for number in range(5):
        await met.hear("hello", sender=f"whatsapp:+1555123100{number}")
    await met.settle()
    met.clock.advance(EXPIRED)
    await met.upkeep(kind)
    assert [found for found, _ in await statuses(met)] == [status] * 6


async def test_upkeep_spares_who_waits_for_an_answer(house: House) -> None:
    house.responder.script = [Snooze(10 * EXPIRED)]
    await house.hear("hello")
    await house.step()
    house.clock.advance(2 * EXPIRED)
    await house.upkeep("process_idle")
    await house.upkeep("process_expired")
    assert await statuses(house) == [("active", None)]


async def test_a_dead_letter_keeps_no_conversation_open(house: House) -> None:
    house.responder.script = [Unrecoverable("wrong key")]
    await house.hear("hello")
    await house.settle()
    house.clock.advance(EXPIRED)
    await house.upkeep("process_expired")
    assert await statuses(house) == [("closed", "expired")]


async def test_upkeep_spares_who_is_still_to_be_sent_something(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear("hello")
    await house.step()
    house.clock.advance(IDLE)
    await house.upkeep("process_idle")
    assert await statuses(house) == [("active", None)]


async def test_upkeep_leaves_others_alone(met: House) -> None:
    met.clock.advance(IDLE)
    await met.hear("hello", sender=BEN)
    await met.step()
    await met.upkeep("process_idle")
    assert await statuses(met) == [("idle", None), ("active", None)]


# --- Coming back


async def test_a_message_makes_an_idle_conversation_active(met: House) -> None:
    met.clock.advance(IDLE)
    await met.upkeep("process_idle")
    await met.hear("I am back")
    await met.settle()
    assert await statuses(met) == [("active", None)]


async def test_a_message_after_the_closing_opens_a_new_conversation(met: House) -> None:
    met.clock.advance(EXPIRED)
    await met.upkeep("process_expired")
    met.clock.advance(1)
    await met.hear("hello again")
    await met.settle()
    assert await statuses(met) == [("closed", "expired"), ("active", None)]
    assert await met.rows("SELECT previous_id FROM conversations ORDER BY id") == [(None,), (1,)]


async def test_a_new_conversation_begins_with_an_empty_page(met: House) -> None:
    met.clock.advance(EXPIRED)
    await met.upkeep("process_expired")
    met.clock.advance(1)
    await met.hear("hello again")
    await met.settle()
    assert [line.text for line in met.responder.asked[-1].lines] == ["hello again"]


async def test_a_message_accepted_before_the_closing_reopens_the_same_conversation(met: House) -> None:
    met.clock.advance(EXPIRED)
    await met.upkeep("process_expired")
    await met.hear("just in time")
    # As where the queue is not in this file, and upkeep could not see that the message was there.
    await met.change("UPDATE jobs SET enqueued_at = enqueued_at - 1 WHERE state = 'ready'")
    assert await statuses(met) == [("closed", "expired")]
    await met.settle()
    assert await statuses(met) == [("active", None)]
    assert met.sent[-1] == "re: just in time"


@pytest.mark.parametrize("close", [True, False])
async def test_a_message_that_upkeep_overtakes_in_the_queue_finds_its_conversation_open(
    met: House, *, close: bool
) -> None:
    met.clock.advance(EXPIRED)
    await met.hear("just in time")
    await (met.lifecycle.close_expired if close else met.lifecycle.mark_idle)(nobody, silent_for=IDLE, limit=10)
    await met.step()
    assert await statuses(met) == [("active", None)]


async def test_a_message_accepted_before_it_became_idle_makes_it_active(met: House) -> None:
    met.clock.advance(IDLE)
    await met.upkeep("process_idle")
    await met.hear("just in time")
    await met.change("UPDATE jobs SET enqueued_at = enqueued_at - 1 WHERE state = 'ready'")
    await met.settle()
    assert await statuses(met) == [("active", None)]


async def test_a_dead_letter_that_is_retried_while_upkeep_looks_keeps_its_conversation_open(house: House) -> None:
    house.responder.script = [Unrecoverable("wrong key")]
    await house.hear("hello")
    await house.settle()
    found = await house.database.read(find_silent, Status.ACTIVE, house.clock.now(), 10)
    await house.engine.retry_dead(JobFilter(states=(JobState.DEAD,)))
    moved = (found, Status.ACTIVE, Status.CLOSED, CloseReason.EXPIRED, "silent", house.clock.now())
    assert (len(found), await house.database.write(move_silent, *moved)) == (1, [])
    assert await statuses(house) == [("active", None)]


async def test_a_conversation_that_was_opted_out_of_is_never_reopened(met: House) -> None:
    await met.hear("STOP")
    await met.hear("in the same moment")
    await met.settle()
    assert (await statuses(met))[0] == ("closed", "opted_out")


@pytest.mark.parametrize("seed", range(4))
async def test_in_any_order_of_arrival_and_upkeep_everybody_is_answered(house: House, seed: int) -> None:
    chance, said = random.Random(seed), 0
    for _ in range(60):
        match chance.randrange(5):
            case 0:
                said += 1
                await house.hear(f"{said}", sender=chance.choice([ANA_SMS, BEN_SMS]), to=OUR_SMS)
            case 1:
                await house.lifecycle.mark_idle(nobody, silent_for=IDLE, limit=10)
            case 2:
                await house.lifecycle.close_expired(nobody, silent_for=EXPIRED, limit=10)
            case 3:
                await house.step()
            case _:
                house.clock.advance(chance.choice([0.001, 1, IDLE, EXPIRED]))
    await house.settle()
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}
    late = await house.rows(
        "SELECT 1 FROM conversations AS c JOIN messages AS m ON m.conversation_id = c.id"
        " WHERE c.status = 'closed' AND m.direction = 'in' AND m.at > c.closed_at"
    )
    assert late == []


# --- What is written down


async def test_each_change_says_who_and_why(met: House) -> None:
    met.clock.advance(IDLE)
    await met.upkeep("process_idle")
    await met.hear("back")
    await met.settle()
    met.clock.advance(EXPIRED)
    await met.upkeep("process_expired")
    assert await transitions(met) == [
        ("contact", "opened", None, "active"),
        ("upkeep", "silent for 900 s", "active", "idle"),
        ("contact", "a message came", "idle", "active"),
        ("upkeep", "silent for 86400 s", "active", "closed"),
    ]


async def test_an_opt_out_is_the_persons_own_change(house: House) -> None:
    await house.hear("STOP")
    await house.settle()
    assert (await transitions(house))[-1] == ("contact", "STOP", "active", "closed")


async def test_a_conversation_that_we_began_says_so(house: House) -> None:
    await house.send("hello")
    await house.settle()
    assert await transitions(house) == [("system", "opened", None, "active")]


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("after", list(Status))
def test_only_the_allowed_changes_are_possible(before: Status, after: Status) -> None:
    if after in ALLOWED[before]:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"that is {before} cannot become {after}"):
            check_transition(before, after)


def test_a_closed_conversation_cannot_become_idle() -> None:
    with pytest.raises(IllegalTransition):
        check_transition(Status.CLOSED, Status.IDLE)


# --- Housekeeping


async def test_housekeeping_prunes_finished_jobs_past_their_retention(met: House) -> None:
    met.clock.advance(101)
    await met.upkeep("housekeeping")
    kept = await met.engine.list(JobFilter())
    assert [record.kind for record in kept] == ["housekeeping"]


async def test_housekeeping_keeps_dead_letters(house: House) -> None:
    house.responder.script = [Unrecoverable("no")]
    await house.hear("hello")
    await house.settle()
    house.clock.advance(100_000)
    await house.upkeep("housekeeping")
    assert len(await house.dead()) == 1


@only_sqlite
async def test_housekeeping_begins_the_log_anew(met: House) -> None:
    assert isinstance(met.database, Database)
    log = met.database.path.with_name("convoq.db-wal")
    await met.hear("x" * 60_000)
    await met.settle()
    assert end_of(log.read_bytes()) > 60_000
    await met.upkeep("housekeeping")
    assert end_of(log.read_bytes()) < 60_000  # what was written since
