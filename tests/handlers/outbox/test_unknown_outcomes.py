"""A send whose outcome is unknown: looked for before it is sent again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from convoq.channels.base import Outbound, Sent
from convoq.conversations.pacing import Held
from convoq.conversations.records import Answer, OutboxRow, Turn
from convoq.conversations.turn_steps import Uncommitted
from convoq.handlers.base import ClaimContext
from convoq.loopback.faults import TwilioFault, error, garbage, hang, reset, slow
from tests.clock import ManualClock
from tests.handlers.house import ANA, OURS, RECONCILE_AFTER, REQUEST_TIMEOUT, House

ACCEPTED = [
    reset(accepted=True),
    error(accepted=True),
    error(accepted=True, status=503),
    garbage(accepted=True),
    pytest.param(hang(), marks=pytest.mark.hangs),
]
NOT_ACCEPTED = [
    reset(accepted=False),
    error(accepted=False),
    garbage(accepted=False),
    pytest.param(hang(accepted=False), marks=pytest.mark.hangs),
]


def name(fault: TwilioFault) -> str:
    return f"{fault.answer}-{fault.status}"


@pytest.mark.parametrize("fault", ACCEPTED, ids=name)
async def test_a_message_that_was_taken_is_not_sent_again(house: House, fault: TwilioFault) -> None:
    house.twilio.fail_next(fault)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]
    assert await house.rows("SELECT state, provider_id, reconciled FROM outbox ORDER BY id") == [
        ("sent", house.twilio.messages[0].sid, 1)
    ]


@pytest.mark.parametrize("fault", NOT_ACCEPTED, ids=name)
async def test_a_message_that_was_not_taken_is_sent_again_once(house: House, fault: TwilioFault) -> None:
    house.twilio.fail_next(fault)
    await house.hear("hello")
    await house.settle()
    assert (house.sent, house.twilio.requests) == (["re: hello"], 2)


@pytest.mark.parametrize("fault", [reset(), reset(accepted=False)], ids=["taken", "not taken"])
async def test_the_parts_stay_in_order_around_an_unknown_outcome(house: House, fault: TwilioFault) -> None:
    text = " ".join(f"sentence {number}." for number in range(300))
    house.responder.script = [text]
    house.twilio.fail_next(slow(0))
    house.twilio.fail_next(fault)
    await house.hear("hello")
    await house.settle()
    assert "".join(house.sent) == text


async def test_twilio_is_not_asked_before_it_can_know(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("hello")
    await house.step()
    assert (await house.due_in(), await house.outbox_states()) == (RECONCILE_AFTER, ["ambiguous"])
    house.clock.advance(RECONCILE_AFTER - 1)
    await house.hear("more")
    await house.step()
    assert house.twilio.reads == 0


async def test_a_twilio_that_fails_to_look_is_asked_again(house: House) -> None:
    house.twilio.fail_next(reset())
    house.twilio.fail_next(TwilioFault(accepts=False, answer="error", on="read"), times=3)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_look_that_the_account_is_refused_costs_no_attempt(house: House) -> None:
    house.twilio.fail_next(reset())
    house.twilio.fail_next(TwilioFault(accepts=False, answer="error", status=401, code=20003, on="read"), times=30)
    await house.hear("hello")
    for _ in range(25):
        await house.step()
        assert (await house.turn_job()).attempt == 0
        house.clock.advance(await house.due_in() or 0)
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_an_equal_text_that_was_sent_before_is_not_taken_for_this_one(house: House) -> None:
    house.responder.script = ["OK", "OK"]
    await house.hear("one")
    await house.settle()
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("two")
    await house.settle()
    assert house.sent == ["OK", "OK"]
    ids = {provider_id for (provider_id,) in await house.rows("SELECT provider_id FROM outbox")}
    assert ids == {message.sid for message in house.twilio.messages}


async def test_a_process_that_died_while_sending_leaves_a_part_that_is_looked_for(house: House) -> None:
    await house.hear_at_once("hello")
    [claim] = await house.claim(1)
    send = house.channel.send

    async def then_die(message: object) -> object:
        house.channel.send = send  # type: ignore[method-assign] # once
        await send(message)  # type: ignore[arg-type] # handed through
        raise BaseExceptionGroup("the process is gone", [KeyboardInterrupt()])

    house.channel.send = then_die  # type: ignore[method-assign,assignment] # see above
    with pytest.raises(BaseExceptionGroup):
        await house.handlers["process_ai_response"](ClaimContext(claim, house.queue))
    assert await house.outbox_states() == ["sending"]
    house.clock.advance(61)
    await house.settle()
    assert (house.sent, await house.outbox_states()) == (["re: hello"], ["sent"])


async def test_a_send_of_a_dead_process_that_is_taken_late_is_not_sent_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, requests = house.channel.send, []

    async def then_die(message: Outbound) -> Sent:
        requests.append(message)
        raise BaseExceptionGroup("the process is gone", [KeyboardInterrupt()])

    monkeypatch.setattr(house.channel, "send", then_die)
    await house.hear_at_once("hello")
    [claim] = await house.claim(1)
    with pytest.raises(BaseExceptionGroup):
        await house.handlers["process_ai_response"](ClaimContext(claim, house.queue))
    monkeypatch.setattr(house.channel, "send", send)
    await house.queue.release(claim)
    house.clock.advance(REQUEST_TIMEOUT)
    await house.step()
    assert (house.twilio.reads, (await house.turn_job()).attempt) == (0, 0)
    assert await house.due_in() == RECONCILE_AFTER
    await send(requests[0])
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 1)


async def test_a_newer_message_waits_until_the_part_before_is_settled(house: House) -> None:
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("one")
    await house.step()
    await house.hear("two")
    await house.settle()
    assert house.sent == ["re: one", "re: two"]


def asleep_after_the_commit(
    house: House, monkeypatch: pytest.MonkeyPatch, then: Callable[[], Awaitable[object]]
) -> None:
    """The process stands still between the commit of the next reply and its request."""
    commit = house.turns.commit

    async def oversleep(turn: Turn, answer: Answer) -> OutboxRow | Held | Uncommitted:
        committed = await commit(turn, answer)
        monkeypatch.setattr(house.turns, "commit", commit)
        await then()
        return committed

    monkeypatch.setattr(house.turns, "commit", oversleep)


async def test_a_process_that_slept_before_its_request_does_not_send_late(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep() -> None:
        house.clock.advance(30)

    asleep_after_the_commit(house, monkeypatch, sleep)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]
    assert await house.rows("SELECT attempts FROM outbox") == [(2,)]


async def test_who_was_overtaken_while_asleep_sends_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def overtaken() -> None:
        house.clock.advance(90)
        [claim] = await house.claim(1)
        await house.turns.look(1, None, claim.jobs[0].id)

    asleep_after_the_commit(house, monkeypatch, overtaken)
    await house.hear("hello")
    await house.step()
    assert house.twilio.requests == 0


async def test_waiting_to_look_costs_no_attempt(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("hello")
    await house.step()
    house.clock.advance(RECONCILE_AFTER / 2)
    await house.change("UPDATE lanes SET due_at = 0")
    await house.step()
    assert ((await house.turn_job()).attempt, house.twilio.reads) == (0, 0)


async def test_what_was_sent_is_found_however_long_the_machine_stood_still_while_it_asked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.twilio, "_clock", house.clock)
    find = house.channel.find

    async def suspended(*args: Any, **options: Any) -> Any:
        house.clock.advance(30)
        return await find(*args, **options)

    monkeypatch.setattr(house.channel, "find", suspended)
    house.twilio.fail_next(reset(accepted=True))
    await house.hear("a")
    await house.settle()
    assert house.sent == ["re: a"]


async def test_what_was_sent_before_a_pause_that_the_boot_clock_has_not_counted_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = ManualClock(house.clock.now())
    for owner in (house.delivery, house.outbox, house.turns):
        monkeypatch.setattr(owner, "_wall", wall)
    monkeypatch.setattr(house.twilio, "_clock", wall)
    house.twilio.fail_next(reset(accepted=True))
    await house.hear("a")
    await house.step()
    wall.advance(3600)  # the hypervisor had stopped the machine
    await house.settle()
    assert house.sent == ["re: a"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("sid"), RecursionError(), OverflowError()])
async def test_an_unexpected_error_after_twilio_has_taken_it_never_sends_again(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    send = house.channel.send

    async def then_fail(message: Outbound) -> Sent:
        monkeypatch.setattr(house.channel, "send", send)
        await send(message)
        raise error

    monkeypatch.setattr(house.channel, "send", then_fail)
    await house.hear("hello")
    await house.settle()
    assert (house.sent, await house.outbox_states()) == (["re: hello"], ["sent"])


async def test_a_store_that_fails_once_twilio_has_taken_it_never_sends_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_sent = house.outbox.mark_sent

    async def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(house.outbox, "mark_sent", mark_sent)
        raise OSError("the disk is full")

    monkeypatch.setattr(house.outbox, "mark_sent", fail)
    await house.hear("hello")
    await house.settle()
    assert (house.sent, await house.outbox_states()) == (["re: hello"], ["sent"])


async def test_a_lost_send_whose_text_twilio_has_rewritten_is_found(house: House) -> None:
    house.responder.script = ["It’s “open” – come in"]
    house.twilio.fail_next(reset(accepted=True))
    await house.hear("hello")
    await house.step()
    house.twilio.messages[0].body = 'It\'s "open" - come in'
    await house.settle()
    assert (len(house.twilio.messages), await house.outbox_states()) == (1, ["sent"])


async def test_what_another_program_has_sent_is_not_taken_for_a_lost_answer(house: House) -> None:
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("hello")
    await house.step()
    other = Outbound(reference="other", our_address=OURS, address=ANA, body="Your parcel comes on Monday")
    await house.channel.send(other)
    await house.settle()
    assert house.sent == [other.body, "re: hello"]
