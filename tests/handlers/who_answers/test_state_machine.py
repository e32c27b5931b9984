"""Who answers: each way from one to the other, what the person hears, and what stands on record of it."""

from __future__ import annotations

import pytest

from convoq.ai.base import AccountRefused, AnswerRefused, ReplyContext, Useless
from convoq.conversations.ownership import ActRefused
from convoq.errors import RetryLater, Unrecoverable
from tests.handlers.house import ANA, MAX_TRIES, House
from tests.handlers.who_answers.chats import PERSON_PLEASE, ask_for_person, changes, hear, open_chat, owner
from tests.handovers import GIVE_BACK_WITHIN, SILENT_WITHIN, TAKEN_WITHIN

HANDOVERS = "process_handovers"


async def pass_time(house: House, seconds: float) -> None:
    """Then the scheduler's job runs once."""
    house.clock.advance(seconds)
    await house.upkeep(HANDOVERS)
    await house.settle()


async def test_a_person_who_asks_for_a_human_is_told_so_and_waits_for_one(house: House) -> None:
    await ask_for_person(house)
    assert house.sent == ["re: hello", "<handed_over>"]
    assert await owner(house) == "waiting"
    assert await changes(house) == [("contact", "asked", "ai", "waiting")]
    assert (await house.outcomes())[-1] == (PERSON_PLEASE, "human")


async def test_who_asks_in_another_language_is_told_in_it(house: House) -> None:
    await hear(house, "Quiero hablar con una persona, por favor")
    assert house.sent == ["<handed_over es>"]


async def test_who_says_more_than_that_is_answered_by_the_ai(house: House) -> None:
    await hear(house, "I want to talk to a human about my invoice 4711")
    assert (len(house.responder.asked), await owner(house)) == (1, "ai")


async def test_a_request_for_a_human_ends_the_answer_that_is_being_written(house: House) -> None:
    async def asked_meanwhile(_: ReplyContext) -> str:
        await house.hear_at_once(PERSON_PLEASE)
        return "too late"

    house.responder.script = [asked_meanwhile]
    await hear(house, "my parcel?")
    assert house.sent == ["<handed_over>"]
    assert await house.outcomes() == [("my parcel?", "human"), (PERSON_PLEASE, "human")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Useless(1, "nonsense"), "loop: "),
        (AnswerRefused("its filter"), "safety: its filter"),
        (Unrecoverable("broken"), "other: broken"),
        (RuntimeError("broken"), "other: RuntimeError: broken"),
        (RetryLater(2, "down"), "provider_down: down"),
        (AccountRefused(60, "no credit"), "provider_down: no credit"),
    ],
)
async def test_what_the_ai_cannot_answer_is_for_a_person(house: House, error: Exception, reason: str) -> None:
    house.responder.always = error
    await hear(house, "hello")
    assert house.sent == ["<unable>"]
    [(who, why, before, after)] = await changes(house)
    assert (who, before, after) == ("ai", "ai", "waiting")
    assert why.startswith(reason)
    assert await house.outcomes() == [("hello", "human")]
    assert await house.dead() == []


ASKED = "how much is the large cake"


async def ask(house: House, *texts: str, pause: float = 20) -> None:
    """Each after the answer to the one before it was read."""
    for text in texts:
        await hear(house, text)
        house.clock.advance(pause)


async def test_who_asks_the_same_for_the_third_time_is_answered_by_a_person(house: House) -> None:
    await ask(house, ASKED, "How much is the large cake??", "so: how much is the large cake?")
    assert house.sent[2:] == ["<unable>"]
    assert [why for _, why, _, _ in await changes(house)] == ["loop: the same question for the third time"]
    await pass_time(house, TAKEN_WITHIN)
    await pass_time(house, GIVE_BACK_WITHIN)
    assert (await owner(house), house.sent[-1].endswith("how much is the large cake?")) == ("ai", True)


@pytest.mark.parametrize(
    "texts",
    [
        (ASKED, f"{ASKED}?"),
        (ASKED, "and the small one, what does it cost", ASKED),
        ("yes?", "yes?", "yes?"),
        ("we are closed until Monday morning", "we are closed until Monday morning", "we are closed until Monday"),
        (ASKED, "with candles, for six of us, on Sunday please", "how much is the large cake then with candles"),
    ],
)
async def test_who_asks_something_else_is_answered_by_the_ai(house: House, texts: tuple[str, ...]) -> None:
    await ask(house, *texts)
    assert (await owner(house), len(house.sent)) == ("ai", len(texts))


async def test_who_asks_the_same_at_once_each_time_is_no_person(house: House) -> None:
    await ask(house, *3 * (f"{ASKED}?",), pause=0.5)
    assert (await owner(house), len(house.sent)) == ("ai", 3)


async def test_what_a_person_writes_in_one_go_is_one_question(house: House) -> None:
    for _ in range(3):
        await house.hear_at_once(f"{ASKED}?")
    await house.settle()
    assert (await owner(house), len(house.sent)) == ("ai", 1)


async def test_an_answer_that_has_cost_too_much_is_for_a_person(house: House) -> None:
    await house.hear_at_once("hello")
    await house.change("UPDATE messages SET requests = 100")
    await house.settle()
    assert (house.sent, [why for _, why, _, _ in await changes(house)]) == (["<unable>"], ["budget"])


async def test_a_message_whose_workers_die_is_for_a_person(house: House) -> None:
    await house.hear_at_once("hello")
    await house.change("UPDATE messages SET tries = ?", MAX_TRIES)
    await house.settle()
    assert (house.sent, await house.dead()) == (["<unable>"], [])


async def test_an_outage_is_waited_out_for_an_hour_before_a_person_is_asked(house: House) -> None:
    house.responder.always = RetryLater(2, "down")
    await house.hear("hello")
    await house.live(3500)
    assert await owner(house) == "ai"
    await house.live(700)
    assert await owner(house) == "waiting"


async def test_what_came_back_from_people_unanswered_is_not_handed_over_again(house: House) -> None:
    house.responder.always = Unrecoverable("broken")
    await hear(house, "hello")
    await house.acts().release(1)
    await house.settle()
    assert (house.sent, await house.outcomes()) == (["<unable>"], [("hello", "failed")])
    assert len(await house.dead()) == 1


async def test_an_operator_takes_over_and_the_person_hears_nothing_of_it(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await hear(house, "still there?")
    assert house.sent == ["re: hello"]
    assert await owner(house) == "human Marta"
    assert await changes(house) == [("Marta", "took over", "ai", "human")]
    assert (await house.outcomes())[-1] == ("still there?", "human")
    assert len(house.responder.asked) == 1


async def test_an_operator_takes_what_waits_for_a_person(house: House) -> None:
    conversation = await ask_for_person(house)
    change = await house.acts().take_over(conversation)
    assert (change.before, await owner(house)) == ("waiting", "human Marta")


async def test_a_message_of_an_operator_takes_over_and_answers_what_waited(house: House) -> None:
    conversation = await ask_for_person(house)
    written = await house.acts().reply(conversation, "Marta here. What can I do?")
    await house.settle()
    assert house.sent[-1] == "Marta here. What can I do?"
    assert (written.answers, await owner(house)) == (1, "human Marta")
    [(body, outcome, answer)] = await house.rows("SELECT body, outcome, answered_by FROM messages WHERE id = 3")
    assert (body, outcome, answer) == (PERSON_PLEASE, "human", written.message_id)


async def test_an_operator_takes_from_another_only_by_force(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts("Luis").take_over(conversation)
    for act in (house.acts().take_over, house.acts().release, house.acts().close):
        with pytest.raises(ActRefused, match="Luis answers conversation 1, since "):
            await act(conversation)
    with pytest.raises(ActRefused, match="Luis answers"):
        await house.acts().reply(conversation, "me too")
    assert await owner(house) == "human Luis"
    await house.acts().take_over(conversation, force=True)
    assert await owner(house) == "human Marta"


async def test_who_has_looked_at_an_older_version_is_told(house: House) -> None:
    conversation = await open_chat(house)
    change = await house.acts("Luis").take_over(conversation, version=0)
    await house.acts("Luis").release(conversation)
    with pytest.raises(ActRefused, match="has changed meanwhile: ai answers it now"):
        await house.acts().take_over(conversation, version=change.conversation.owner_version)


async def test_nobody_takes_it_and_the_person_is_told_once(house: House) -> None:
    await ask_for_person(house)
    await pass_time(house, TAKEN_WITHIN - 1)
    assert house.sent[-1] == "<handed_over>"
    await pass_time(house, 1)
    await pass_time(house, 60)
    assert house.sent[1:] == ["<handed_over>", "<nobody_free>"]
    assert await owner(house) == "waiting"


async def test_nobody_comes_and_the_ai_answers_what_waits(house: House) -> None:
    await ask_for_person(house)
    await pass_time(house, TAKEN_WITHIN)
    await hear(house, "hello?")
    await pass_time(house, GIVE_BACK_WITHIN)
    assert house.sent[-1] == f"re: {PERSON_PLEASE} + hello?"
    assert (await changes(house))[-1] == ("upkeep", "nobody came", "waiting", "ai")
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}
    assert await house.rows("SELECT body, returned FROM messages WHERE returned > 0 ORDER BY id") == [
        (PERSON_PLEASE, 1),
        ("hello?", 1),
    ]


async def test_an_operator_gives_back_and_the_ai_answers_what_nobody_has(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().reply(conversation, "Marta here")
    await house.settle()
    await hear(house, "and on Sunday?")
    change = await house.acts().release(conversation)
    await house.settle()
    assert change.returned == 1
    assert house.sent == ["re: hello", "Marta here", "re: and on Sunday?"]
    assert (await changes(house))[-1] == ("Marta", "gave it back", "human", "ai")


async def test_an_operator_gives_back_what_is_answered_and_the_ai_says_nothing(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await hear(house, "thanks")
    await house.acts().reply(conversation, "You are welcome")
    await house.acts().release(conversation)
    await house.settle()
    assert house.sent == ["re: hello", "You are welcome"]


async def test_an_operator_who_lets_a_person_wait_is_replaced_by_whoever_comes(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    house.clock.advance(60)
    await hear(house, "are you there?")
    await pass_time(house, SILENT_WITHIN - 1)
    assert await owner(house) == "human Marta"
    await pass_time(house, 1)
    assert (await owner(house), house.sent) == ("waiting", ["re: hello"])
    assert (await changes(house))[-1] == ("upkeep", "Marta has left a message unanswered", "human", "waiting")
    await pass_time(house, TAKEN_WITHIN)
    assert house.sent[-1] == "<nobody_free>"


async def test_an_operator_who_has_answered_has_the_whole_time_again(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await hear(house, "are you there?")
    house.clock.advance(SILENT_WITHIN - 1)
    await house.acts().reply(conversation, "Yes")
    await pass_time(house, 10)
    assert await owner(house) == "human Marta"


async def test_an_operator_is_silent_and_nobody_waits_so_the_ai_has_it_back(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().reply(conversation, "All done")
    await pass_time(house, SILENT_WITHIN)
    assert (await owner(house), house.sent) == ("ai", ["re: hello", "All done"])
    assert (await changes(house))[-1] == ("upkeep", "Marta is silent", "human", "ai")


async def test_after_a_downtime_each_step_is_taken_once_and_only_if_it_is_still_true(house: House) -> None:
    conversation = await ask_for_person(house)
    house.clock.advance(100_000)
    await house.acts().take_over(conversation)
    await house.upkeep(HANDOVERS)
    await house.settle()
    assert (await owner(house), house.sent[-1]) == ("human Marta", "<handed_over>")


async def test_after_a_downtime_longer_than_all_periods_one_step_is_taken_and_the_next_has_its_whole_time(
    house: House,
) -> None:
    await ask_for_person(house)
    await pass_time(house, 20_000)
    assert (await owner(house), house.sent[-1]) == ("waiting", "<nobody_free>")
    await pass_time(house, GIVE_BACK_WITHIN - 1)
    assert await owner(house) == "waiting"
    await pass_time(house, 1)
    assert await owner(house) == "ai"


async def test_a_step_runs_once_though_its_job_runs_twice(house: House) -> None:
    await ask_for_person(house)
    house.clock.advance(TAKEN_WITHIN)
    for _ in range(2):
        await house.upkeep(HANDOVERS)
    await house.settle()
    assert house.sent.count("<nobody_free>") == 1


async def test_a_stop_leaves_nobody_to_answer_and_a_start_brings_back_who_did(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await hear(house, "STOP")
    assert await owner(house) == "nobody"
    with pytest.raises(ActRefused, match="is closed"):
        await house.acts().take_over(conversation)
    with pytest.raises(ActRefused, match="has opted out"):
        await house.acts().reply(conversation, "come back")
    await hear(house, "START", "hello again")
    assert (await owner(house), house.sent) == ("human Marta", ["re: hello"])


async def test_after_a_stop_and_a_start_the_ai_answers_where_it_did(house: House) -> None:
    await open_chat(house)
    await hear(house, "STOP", "START")
    assert (await owner(house), house.sent[-1]) == ("ai", "re: START")


async def test_a_block_leaves_nobody_to_answer_and_an_unblock_brings_back_who_did(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await house.acts().block(1, "spam")
    await hear(house, "buy this")
    assert (await owner(house), (await house.outcomes())[-1]) == ("nobody", ("buy this", "blocked"))
    with pytest.raises(ActRefused, match="is blocked"):
        await house.acts().take_over(conversation)
    await house.acts().unblock(1)
    assert await owner(house) == "human Marta"
    assert [change[:2] for change in await changes(house)][-2:] == [("Marta", "blocked: spam"), ("Marta", "unblocked")]


async def test_a_closed_conversation_is_over_and_the_next_message_is_the_ai_s(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await hear(house, "one more thing")
    await house.acts().close(conversation)
    await house.settle()
    assert house.sent == ["re: hello"]
    await hear(house, "hello again")
    assert (await owner(house), house.sent[-1]) == ("ai", "re: hello again")
    assert await house.rows("SELECT closed_reason FROM conversations WHERE id = 1") == [("operator",)]


async def test_who_waits_for_a_person_does_not_expire(house: House) -> None:
    await ask_for_person(house)
    house.clock.advance(200_000)
    for kind in ("process_idle", "process_expired"):
        await house.upkeep(kind)
    assert await owner(house) == "waiting"
    assert await house.rows("SELECT status FROM conversations") == [("active",)]


async def test_every_act_stands_in_the_audit_trail(house: House) -> None:
    conversation = await open_chat(house)
    marta = house.acts()
    await marta.take_over(conversation)
    written = await marta.reply(conversation, "Marta here")
    await marta.note(conversation, "wants a refund")
    await marta.release(conversation)
    await marta.pause("all", "training")
    await marta.resume("all")
    await marta.block(1)
    await marta.unblock(1)
    await marta.close(conversation)
    found = await house.rows("SELECT who, act, conversation_id, subject, detail FROM audit ORDER BY id")
    assert found == [
        ("Marta", "take_over", 1, None, "from ai"),
        ("Marta", "reply", 1, None, f"#{written.message_id}"),
        ("Marta", "note", 1, None, None),
        ("Marta", "release", 1, None, "from human"),
        ("Marta", "pause", None, "all", "training"),
        ("Marta", "resume", None, "all", None),
        ("Marta", "block", None, "contact:1", None),
        ("Marta", "unblock", None, "contact:1", None),
        ("Marta", "close", 1, None, None),
    ]


async def test_what_is_refused_leaves_nothing(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts("Luis").take_over(conversation)
    with pytest.raises(ActRefused):
        await house.acts().reply(conversation, "me too")
    assert await house.rows("SELECT who FROM audit") == [("Luis",)]
    assert await house.rows("SELECT 1 FROM messages WHERE author = 'operator'") == []


async def test_a_reply_that_is_given_twice_with_one_key_is_sent_once(house: House) -> None:
    conversation = await open_chat(house)
    first = await house.acts().reply(conversation, "Marta here", key="k")
    again = await house.acts().reply(conversation, "Marta here", key="k")
    await house.settle()
    assert (again.message_id, again.is_new) == (first.message_id, False)
    assert house.sent == ["re: hello", "Marta here"]


async def test_an_operator_writes_to_a_person_who_has_never_written(house: House) -> None:
    await house.acts().write_to("twilio", "+15550009999", "+15551230009", "Your table is ready")
    await house.settle()
    assert (house.sent, await owner(house)) == (["Your table is ready"], "human Marta")


async def test_to_a_stranger_whatsapp_takes_no_free_text(house: House) -> None:
    with pytest.raises(ActRefused, match="WhatsApp takes only an approved template first") as refused:
        await house.acts().write_to("twilio", "whatsapp:+15550009999", "whatsapp:+15551230009", "Hello")
    assert refused.value.code == "window"
    assert await house.rows("SELECT 1 FROM contacts") == []


async def test_after_a_day_whatsapp_takes_no_free_text_of_an_operator_either(house: House) -> None:
    conversation = await open_chat(house)
    house.clock.advance(86_401)
    with pytest.raises(ActRefused, match="24 hours"):
        await house.acts().reply(conversation, "Sorry for the wait")
    assert await owner(house) == "ai"


async def test_a_reply_to_a_closed_conversation_begins_another(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().close(conversation)
    written = await house.acts().reply(conversation, "One more thing from us")
    await house.settle()
    assert written.change.conversation.id == 2
    assert (house.sent[-1], await owner(house)) == ("One more thing from us", "human Marta")


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty"), ("\u200b\x00 \n", "nothing that can be seen"), ("x" * 5000, "5,000 characters; at most 4,000")],
)
async def test_a_text_that_cannot_be_sent_is_refused(house: House, text: str, why: str) -> None:
    conversation = await open_chat(house)
    with pytest.raises(ActRefused, match=why):
        await house.acts().reply(conversation, text)
    assert await owner(house) == "ai"


async def test_control_characters_of_an_operator_do_not_go_out(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().reply(conversation, "Done\x1b[31m!\x00\r\nBye")
    await house.settle()
    assert house.sent[-1] == "Done!\nBye"


async def test_a_long_text_of_an_operator_goes_out_in_parts_and_whole(house: House) -> None:
    conversation = await open_chat(house)
    text = " ".join(f"word{number}" for number in range(400))
    await house.acts().reply(conversation, text)
    await house.settle()
    assert "".join(house.sent[1:]) == text
    assert len(house.sent) > 2


async def test_what_an_operator_writes_comes_after_a_turn_that_backs_off(house: House) -> None:
    """Not after its backoff: at once."""
    house.responder.always = RuntimeError("broken")
    await house.hear_at_once("hello", sender=ANA)
    await house.turn()
    [(conversation,)] = await house.rows("SELECT id FROM conversations")
    await house.acts().reply(conversation, "Marta here")
    assert await house.due_in() == 0
    await house.turn()
    assert house.sent == ["Marta here"]
