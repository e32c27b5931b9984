"""Delivery statuses: written down, going forward only, and proof of a send whose answer was lost."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from convoq.loopback.faults import reset
from convoq.queue.base import JobState
from tests.handlers.house import House


async def sent_row(house: House) -> tuple[str, str]:
    """A message that is sent: its id at Twilio and our reference."""
    await house.hear("hello")
    await house.settle()
    [(provider_id, reference)] = await house.rows("SELECT provider_id, reference FROM outbox")
    return provider_id, reference


async def delivery(house: House) -> tuple[str | None, str | None]:
    [row] = await house.rows("SELECT delivery, error_code FROM outbox")
    return row[0], row[1]


async def test_a_delivery_status_is_written_down(house: House) -> None:
    sid, reference = await sent_row(house)
    await house.report(sid, "delivered", reference=reference)
    await house.settle()
    assert await delivery(house) == ("delivered", None)


@pytest.mark.parametrize(
    ("order", "last"),
    [
        (["sent", "delivered", "read"], "read"),
        (["read", "delivered", "sent"], "read"),
        (["read", "failed"], "read"),
        (["read", "undelivered"], "read"),
        (["failed", "read"], "read"),
        (["word-that-twilio-added-since"], "word-that-twilio-added-since"),
        (["word-that-twilio-added-since", "sent"], "sent"),
        (["delivered", "queued"], "delivered"),
        (["undelivered", "sent"], "undelivered"),
        (["failed", "delivered"], "failed"),
        (["delivered", "word-that-twilio-added-since"], "delivered"),
    ],
)
async def test_delivery_goes_forward_only(house: House, order: list[str], last: str) -> None:
    sid, reference = await sent_row(house)
    for status in order:
        await house.report(sid, status, reference=reference)
        await house.settle()
    assert (await delivery(house))[0] == last


@pytest.mark.parametrize("before", ["sent", "delivered", "read", "undelivered"])
async def test_a_word_that_is_new_is_told_beside_what_holds(house: House, before: str) -> None:
    sid, reference = await sent_row(house)
    with capture_logs() as logs:
        for status in (before, "teleported"):
            await house.report(sid, status, reference=reference)
            await house.settle()
    assert await house.rows("SELECT delivery, error FROM outbox") == [
        (before, 'the channel has also said "teleported", which convoq does not know')
    ]
    assert [entry["status"] for entry in logs if entry["event"] == "delivery.new_status"] == ["teleported"]


async def test_a_failed_delivery_keeps_its_code(house: House) -> None:
    sid, reference = await sent_row(house)
    await house.report(sid, "undelivered", reference=reference, code=63024)
    await house.settle()
    assert await delivery(house) == ("undelivered", "63024")


async def test_a_status_of_a_message_nobody_knows_is_done_and_changes_nothing(house: House) -> None:
    await sent_row(house)
    before = await house.rows("SELECT * FROM outbox ORDER BY id")
    job_id = await house.report("SM" + "f" * 32, "delivered", reference="no such reference")
    await house.settle()
    assert ((await house.job(job_id)).state, await house.rows("SELECT * FROM outbox ORDER BY id")) == (
        JobState.DONE,
        before,
    )


async def test_a_status_of_another_message_with_our_reference_goes_not_astray(house: House) -> None:
    _, reference = await sent_row(house)
    await house.report("SM" + "f" * 32, "failed", reference=reference)
    await house.settle()
    assert (await delivery(house))[0] is None


async def test_a_status_proves_a_send_whose_answer_was_lost(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("hello")
    await house.step()
    [message] = house.twilio.messages
    await house.report(message.sid, "sent", reference=message.reference)
    await house.step()
    assert await house.rows("SELECT state, provider_id, reconciled, delivery FROM outbox ORDER BY id") == [
        ("sent", message.sid, 1, "sent")
    ]
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 0)


async def test_a_status_may_come_before_the_answer(house: House) -> None:
    send = house.channel.send

    async def overtaken(message: object) -> object:
        sent = await send(message)  # type: ignore[arg-type] # handed through
        [known] = house.twilio.messages
        await house.report(known.sid, "delivered", reference=known.reference)
        [claim] = await house.queue.claim(1, worker="another")
        await house.handle(claim)
        return sent

    house.channel.send = overtaken  # type: ignore[method-assign,assignment] # once
    await house.hear("hello")
    await house.settle()
    assert await house.outbox_states() == ["sent"]
    assert (await delivery(house))[0] == "delivered"


async def test_a_form_that_is_no_status_is_a_dead_letter(house: House) -> None:
    await house.report("SM" + "1" * 32, "???")
    await house.settle()
    [dead] = await house.dead()
    assert "not a delivery status" in (dead.error or "")
