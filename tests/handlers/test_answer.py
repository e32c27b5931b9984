"""A turn: one reply for everything that waits, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from convoq.ai.base import AccountRefused, Author, ReplyContext
from convoq.db import Database
from convoq.errors import RetryLater, Unrecoverable
from convoq.jobs import NewJob
from convoq.queue.base import JobFilter, State
from convoq.settings import ConversationSettings
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, OURS, House, about, open_house, waiting

HOUR = 3600.0


# --- One reply a turn


async def test_a_message_is_answered(house: House) -> None:
    await house.hear("hello")
    await house.step()
    [message] = house.twilio.messages
    assert (message.body, message.to, message.from_) == ("re: hello", ANA, OURS)
    assert await house.outcomes() == [("hello", "answered")]


async def test_a_burst_gets_one_reply_that_covers_all(house: House) -> None:
    for text in ("hi", "are you open", "on Sunday?"):
        await house.hear(text)
    await house.settle()
    assert house.sent == ["re: hi + are you open + on Sunday?"]
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}


async def test_every_message_of_a_turn_names_its_answer(house: House) -> None:
    await house.hear("a")
    await house.hear("b")
    await house.settle()
    [answer] = await house.rows("SELECT id FROM messages WHERE direction = 'out'")
    assert await house.rows("SELECT answered_by FROM messages WHERE direction = 'in'") == [answer, answer]


async def test_two_people_get_a_reply_each(house: House) -> None:
    await house.hear("from Ana")
    await house.hear("from Ben", sender=BEN)
    await house.settle()
    assert {(message.to, message.body) for message in house.twilio.messages} == {
        (ANA, "re: from Ana"),
        (BEN, "re: from Ben"),
    }


async def test_one_person_at_two_of_our_addresses_has_two_conversations(house: House) -> None:
    await house.hear("to the shop", sender=ANA_SMS, to=OUR_SMS)
    await house.hear("to the office", sender=ANA_SMS, to="+15550008888")
    await house.settle()
    assert {(message.from_, message.body) for message in house.twilio.messages} == {
        (OUR_SMS, "re: to the shop"),
        ("+15550008888", "re: to the office"),
    }


async def test_a_duplicate_of_an_answered_message_is_harmless(house: House) -> None:
    await house.hear("hello", sid="SM" + "1" * 32, dedup=False)
    await house.settle()
    await house.hear("hello", sid="SM" + "1" * 32, dedup=False)
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_duplicate_within_a_burst_is_harmless(house: House) -> None:
    for sid in ("1", "2", "1"):
        await house.hear(f"message {sid}", sid="SM" + sid * 32, dedup=False)
    await house.settle()
    assert house.sent == ["re: message 1 + message 2"]


async def test_a_burst_of_any_length_gets_one_reply_that_is_paid_once(house: House) -> None:
    for number in range(150):  # several times what one claim holds
        await house.hear(str(number))
    house.responder.script = ["thanks for the photos"]
    await house.settle()
    assert (house.sent, len(house.responder.asked)) == (["thanks for the photos"], 1)
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}


async def test_turns_follow_each_other_with_their_history(house: House) -> None:
    await house.hear("one")
    await house.settle()
    await house.hear("two")
    await house.settle()
    assert [(line.author, line.text) for line in house.responder.asked[1].lines] == [
        (Author.CONTACT, "one"),
        (Author.AI, "re: one"),
        (Author.CONTACT, "two"),
    ]


async def test_the_responder_knows_whom_it_speaks_for(house: House) -> None:
    await house.hear("hello", extra={"ProfileName": "Ana María"})
    await house.step()
    [asked] = house.responder.asked
    assert (asked.persona, asked.our_address, asked.address) == (f"persona of {OURS}", OURS, ANA)
    assert (asked.channel, asked.contact_name) == ("twilio", "Ana María")


async def test_each_model_call_is_written_down(house: House) -> None:
    house.responder.script = [RetryLater(1), about]
    await house.hear("hello")
    await house.settle()
    calls = await house.rows("SELECT model, outcome, input_tokens, output_tokens FROM model_calls")
    assert calls == [("scripted", "ok", 3, 2)] * 2


@pytest.mark.parametrize(
    ("text", "media", "read"),
    [
        ("", [("https://api.twilio.com/m/1", "image/jpeg")], "[photo]"),
        ("look", [("https://api.twilio.com/m/1", "image/jpeg")], "[photo]\nlook"),
        ("", [("https://api.twilio.com/m/1", "audio/ogg")], "[voice note]"),
        ("", [], "[empty message]"),
        ("   ", [], "[empty message]"),
    ],
)
async def test_a_message_without_text_is_described_and_answered(
    house: House, text: str, media: list[tuple[str, str]], read: str
) -> None:
    await house.hear(text, media=media)
    await house.settle()
    assert waiting(house.responder.asked[0]) == [read]
    assert len(house.sent) == 1


async def test_what_people_wrote_is_kept_as_they_wrote_it(house: House) -> None:
    text = "  ¡Hola!\n\n👩‍👩‍👧 'quotes' \"more\" %s {x} \u202e \U0001f1ea\U0001f1f8  "
    await house.hear(text)
    await house.settle()
    assert await house.outcomes() == [(text, "answered")]


# --- The quiet window


@pytest.fixture
async def patient(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    """A house that waits 2.5 s for more, 6 s at most."""
    async with open_house(database, clock, timing=ConversationSettings(quiet_window=2.5, max_wait=6)) as house:
        yield house


async def test_nothing_is_asked_before_the_person_has_paused(patient: House) -> None:
    await patient.hear("hi")
    await patient.step()
    assert (patient.responder.asked, await patient.due_in()) == ([], 2.5)


async def test_the_answer_comes_once_the_window_is_over(patient: House) -> None:
    await patient.hear("hi")
    await patient.step()
    patient.clock.advance(2.5)
    await patient.step()
    assert patient.sent == ["re: hi"]


async def test_each_message_begins_the_window_anew(patient: House) -> None:
    await patient.hear("hi")
    await patient.step()
    patient.clock.advance(2)
    await patient.hear("there")
    patient.clock.advance(0.5)
    await patient.step()
    assert (patient.sent, await patient.due_in()) == ([], 2.0)
    patient.clock.advance(2)
    await patient.step()
    assert patient.sent == ["re: hi + there"]


async def test_who_keeps_typing_is_answered_after_the_longest_wait(patient: House) -> None:
    begun = patient.clock.now()
    typed = 0
    while not patient.sent:
        await patient.hear(str(typed))
        typed += 1
        await patient.step()
        patient.clock.advance(1)
    assert patient.clock.now() - begun == 7_000
    assert patient.sent == ["re: 0 + 1 + 2 + 3 + 4 + 5 + 6"]


async def test_waiting_for_quiet_costs_no_attempt(patient: House) -> None:
    job_id = await patient.hear("hi")
    for _ in range(5):
        await patient.step()
        patient.clock.advance(0.5)
    assert (await patient.job(job_id)).attempt == 0


async def test_a_message_that_waited_long_enough_in_the_queue_waits_no_more(patient: House) -> None:
    await patient.hear("hi")
    patient.clock.advance(60)
    await patient.step()
    assert patient.sent == ["re: hi"]


# --- Newer messages while a reply is written


def writing(house: House, *texts: str) -> None:
    """While each of the next answers is written, the person writes one more message."""

    def interrupted(text: str) -> object:
        async def answer(context: ReplyContext) -> str:
            await house.hear(text)
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
    assert house.sent == ["re: a + b + c"]
    await house.settle()
    assert house.sent == ["re: a + b + c", "re: d"]


async def test_a_message_that_comes_between_the_look_and_the_commit_is_covered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = house.store.commit_reply

    async def late(*args: object, **options: object) -> bool:
        monkeypatch.setattr(house.store, "commit_reply", commit)
        await house.hear("b")
        return await commit(*args, **options)  # type: ignore[arg-type] # handed through

    monkeypatch.setattr(house.store, "commit_reply", late)
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


# --- Who may be answered


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
    commit = house.store.commit_reply

    async def then_taken_over(*args: object, **options: object) -> bool:
        done = await commit(*args, **options)  # type: ignore[arg-type] # handed through
        await house.change("UPDATE conversations SET owner = 'human'")
        return done

    house.store.commit_reply = then_taken_over  # type: ignore[method-assign] # once
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


# --- Long replies


async def test_a_long_reply_is_sent_in_parts_in_order(house: House) -> None:
    text = " ".join(f"sentence number {number}." for number in range(300))
    house.responder.script = [text]
    await house.hear("tell me everything")
    await house.settle()
    assert len(house.sent) > 2
    assert "".join(house.sent) == text


async def test_the_next_answer_comes_after_the_last_part_of_this_one(house: House) -> None:
    house.responder.script = ["long " * 800]
    await house.hear("a")
    await house.step()
    await house.hear("b")
    await house.settle()
    assert house.sent[-1] == "re: b"
    assert "".join(house.sent[:-1]) == "long " * 800


# --- A model that fails


async def test_a_model_that_is_down_costs_no_attempts_for_an_hour(house: House) -> None:
    house.responder.always = RetryLater(60, "the model is down")
    job_id = await house.hear("hello")
    for _ in range(59):
        await house.step()
        assert (await house.job(job_id)).attempt == 0
        house.clock.advance(60)


async def test_after_an_hour_each_try_costs_an_attempt(house: House) -> None:
    house.responder.always = RetryLater(60, "the model is down")
    job_id = await house.hear("hello")
    house.clock.advance(HOUR)
    await house.settle()
    record = await house.job(job_id)
    assert (record.state, record.attempt, record.error) == (State.DEAD, 12, "the model is down")


async def test_the_answer_comes_as_soon_as_the_model_is_back(house: House) -> None:
    house.responder.script = [RetryLater(30)] * 5
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_refused_key_holds_messages_for_a_day_without_costing_attempts(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    job_id = await house.hear("hello")
    for _ in range(23):
        await house.step()
        record = await house.job(job_id)
        assert (record.state, record.attempt, await house.due_in()) == (State.READY, 0, 3600)
        house.clock.advance(3600)
    house.responder.always = None
    await house.step()
    assert house.sent == ["re: hello"]


async def test_a_key_that_stays_refused_for_a_day_leaves_a_dead_letter_with_the_cause(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    await house.hear("hello")
    await house.settle(patience=25 * HOUR)
    assert [record.error for record in await house.dead()] == ["the key is refused (still so after 24 hours)"]
    assert await house.outcomes() == [("hello", "failed")]


async def test_a_refusal_is_waited_out_for_the_newest_message_of_the_turn(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    await house.hear("first")
    await house.step()
    house.clock.advance(23.9 * HOUR)
    await house.hear("second")
    for _ in range(3):
        await house.step()
        house.clock.advance(HOUR)
    assert await house.dead() == []


async def test_a_refused_key_is_an_error_in_the_log_once_a_minute(house: House) -> None:
    house.responder.always = AccountRefused(10, "the key is refused")
    for sender in (ANA, BEN):
        await house.hear("hello", sender=sender)
    with capture_logs() as logs:
        for _ in range(12):
            await house.step()
            house.clock.advance(10)
    alarms = [(entry["log_level"], entry["error"]) for entry in logs if entry["event"] == "ai.refused"]
    assert alarms == [("error", "the key is refused")] * 2


async def test_what_no_retry_can_help_is_a_dead_letter_with_its_reason(house: House) -> None:
    house.responder.script = [Unrecoverable("the key is wrong")]
    await house.hear("hello")
    await house.settle()
    [dead] = await house.dead()
    assert dead.error == "the key is wrong"
    assert await house.outcomes() == [("hello", "failed")]


async def test_the_last_attempt_says_that_no_answer_could_be_made(house: House) -> None:
    house.responder.always = RuntimeError("bug")
    await house.hear("hello")
    for _ in range(11):
        await house.step()
        assert await house.outcomes() == [("hello", None)]
        house.clock.advance(await house.due_in() or 0)
    await house.step()
    assert await house.outcomes() == [("hello", "failed")]


async def test_a_dead_letter_takes_no_later_message_with_it(house: House) -> None:
    def poisoned(context: ReplyContext) -> str:
        if any("poison" in line.text for line in context.lines):
            raise Unrecoverable("refused")
        return about(context)

    house.responder.always = poisoned
    await house.hear("poison")
    await house.settle()
    await house.hear("second")
    await house.settle()
    assert house.sent == ["re: second"]


async def test_a_dead_letter_that_is_retried_is_answered(house: House) -> None:
    house.responder.script = [Unrecoverable("no")]
    await house.hear("first")
    await house.settle()
    await house.hear("second")
    await house.settle()
    [dead] = await house.dead()
    await house.queue.backend.retry_dead(JobFilter(ids=(dead.id,)))
    await house.settle()
    assert house.sent == ["re: second", "re: first"]
    assert await house.outcomes() == [("first", "answered"), ("second", "answered")]


async def test_an_unexpected_error_of_the_responder_is_tried_again(house: House) -> None:
    house.responder.script = [RuntimeError("bug")]
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_draft_is_paid_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = house.store.commit_reply

    async def broken_once(*_: object, **__: object) -> bool:
        monkeypatch.setattr(house.store, "commit_reply", commit)
        raise RuntimeError("power cut")

    monkeypatch.setattr(house.store, "commit_reply", broken_once)
    house.responder.script = ["the first answer", "another answer"]
    await house.hear("hello")
    await house.settle()
    assert (house.sent, len(house.responder.asked)) == (["the first answer"], 1)


async def test_a_failing_turn_of_one_person_holds_up_nobody_else(house: House) -> None:
    def broken_for_ana(context: ReplyContext) -> str:
        if context.address == ANA:
            raise RetryLater(5)
        return about(context)

    house.responder.always = broken_for_ana
    await house.hear("from Ana")
    await house.hear("from Ben", sender=BEN)
    await house.step()
    assert house.sent == ["re: from Ben"]


# --- A job that is not a message


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_form_that_is_no_message_is_buried_alone(house: House, position: int) -> None:
    for number in range(3):
        if number == position:
            key = f"twilio|{OURS}|{ANA}"
            job = NewJob(kind="process_ai_response", payload='{"form": [["Body", "no sid"]]}', ordering_key=key)
            bad = (await house.queue.enqueue(job)).job_id
        else:
            await house.hear(f"good {number}")
    await house.settle()
    assert [record.id for record in await house.dead()] == [bad]
    assert house.sent == ["re: " + " + ".join(f"good {number}" for number in range(3) if number != position)]
