"""`convoq jobs retry` of what a person's STOP has ended says that, instead of a retry that sends nothing."""

from __future__ import annotations

from functools import partial

import pytest

from convoq.channels.twilio.inbound import parse_inbound
from convoq.clock import WallClock
from convoq.conversations.confirming import Confirmations
from convoq.conversations.recording import Received, Recorded, Recorder
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import NewJob, ReceiveMessage, message_job, turn_job
from convoq.queue.opening import open_queue
from convoq.settings import Options
from tests.cli.scenes import ANA, OURS, Place, bury, fail_turn, inbound_job
from tests.handovers import NOBODY_LOOKS


def states(place: Place) -> list[str]:
    return [state for (state,) in place.execute("SELECT state FROM jobs ORDER BY id")]


async def stopped_with(database: Database, buried_job: NewJob) -> None:
    """A person's dead letter, who writes STOP after it."""
    await hear(database, "hello", 1)
    await bury(database, [buried_job])
    await hear(database, "STOP", 2)


async def hear(database: Database, text: str, sid: int, confirmations: Confirmations | None = None) -> None:
    form = ReceiveMessage.model_validate_json(inbound_job(text, sid).payload).form
    received = Received(parse_inbound(form), str(sid), database.clock.now())
    async with open_queue(database, Options()) as queue:
        follow_ups = queue.follow_ups()

        def wake(tx: Transaction, recorded: Recorded) -> None:
            if confirmations:
                enqueue_turns(follow_ups, tx, recorded.threads)

        await Recorder(database, WallClock(), NOBODY_LOOKS, confirmations).record([received], wake)
        await follow_ups.send()


async def stopped_unconfirmed(database: Database) -> None:
    """The turn that was to confirm a STOP is a dead letter."""
    await hear(database, "STOP", 1, Confirmations({"en": "You will hear nothing more."}, lambda _: "en"))
    await fail_turn(database, "TimeoutError: no answer")


@pytest.mark.parametrize("named", [True, False], ids=["named", "bulk"])
def test_a_message_to_who_has_opted_out_is_not_retried_and_the_command_says_why(
    named: bool, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: stopped_with(database, message_job(OURS, ANA, "your table is ready")))
    assert place.run("jobs", "retry", *(["1"] if named else ["--all", "--yes"])) == (1 if named else 0)
    assert states(place) == ["dead"]
    printed = capsys.readouterr()
    assert "has opted out; retry it once they have written START" in printed.err


def test_a_message_to_who_is_back_is_retried(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: stopped_with(database, message_job(OURS, ANA, "your table is ready")))
    place.prepare(lambda database: hear(database, "START", 3))
    assert place.run("jobs", "retry", "1") == 0
    assert capsys.readouterr().out == "1 job retried\n"
    assert states(place)[0] == "ready"


def test_a_turn_of_which_a_stop_has_left_nothing_is_not_retried_and_the_command_says_why(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: stopped_with(database, turn_job(1, "turn|x")))
    place.execute("UPDATE contacts SET opted_out_at = NULL")  # they have written START, and nothing since
    assert place.run("jobs", "retry", "1") == 1
    assert states(place) == ["dead"]
    assert "nothing of it is left to be answered or sent" in capsys.readouterr().err


@pytest.mark.parametrize("stops", [1, 2])
def test_a_turn_that_was_to_confirm_the_stop_is_retried(
    stops: int, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(stopped_unconfirmed)
    for sid in range(2, 1 + stops):
        place.prepare(partial(hear, text="STOP", sid=sid))
    assert states(place) == ["dead"]
    assert place.run("jobs", "retry", "1") == 0
    assert capsys.readouterr().out == "1 job retried\n"
    assert list(place.execute("SELECT state FROM outbox")) == [("ready",)]


async def stopped_and_not_yet_confirmed(database: Database) -> None:
    """A dead letter of a message of ours, and a STOP whose confirmation is still to be sent."""
    await bury(database, [message_job(OURS, ANA, "your table is ready")])
    await hear(database, "STOP", 1, Confirmations({"en": "You will hear nothing more."}, lambda _: "en"))


def test_a_confirmation_that_is_still_to_be_sent_makes_no_other_retry_useful(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(stopped_and_not_yet_confirmed)
    assert place.run("jobs", "retry", "1") == 1
    assert states(place) == ["dead", "ready"]
    assert "has opted out" in capsys.readouterr().err
