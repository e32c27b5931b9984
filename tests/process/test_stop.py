"""STOP on real processes: it waits behind nothing, and nothing that had not left goes out after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from convoq import connect
from convoq.loopback.faults import ModelFault, slow, too_many
from convoq.loopback.model import LoopbackModel
from convoq.settings.notices import OPTED_OUT
from tests.process.harness import NUMBER, Site, open_site

pytestmark = pytest.mark.process

ANA, BEN, CLEO = "whatsapp:+15551230001", "whatsapp:+15551230002", "whatsapp:+15551230003"
AT_ONCE_MS = 100
LATENCY = """
    SELECT c.opted_out_at - m.at FROM messages AS m JOIN threads AS t ON t.id = m.thread_id
    JOIN contacts AS c ON c.id = t.contact_id WHERE m.body = 'STOP' AND c.address = ?
"""
#: What of a person waits or is to be sent, but for the sentence that confirms the STOP.
UNSETTLED = """
    SELECT 1 FROM messages AS m JOIN threads AS t ON t.id = m.thread_id
    WHERE m.direction = 'in' AND m.outcome IS NULL AND t.lane LIKE '%' || ?
    UNION SELECT 1 FROM outbox AS o JOIN threads AS t ON t.id = o.thread_id
    WHERE o.state IN ('ready', 'sending', 'ambiguous') AND t.lane LIKE '%' || ?
        AND o.message_id NOT IN (SELECT id FROM messages WHERE source LIKE 'opt_out:%')
"""
#: What was to be said to people, but for that sentence.
PARTS = """
    SELECT state, error_code FROM outbox
    WHERE message_id NOT IN (SELECT id FROM messages WHERE source LIKE 'opt_out:%') ORDER BY id
"""


@dataclass
class Shop:
    site: Site
    model: LoopbackModel

    @property
    def sent(self) -> list[str]:
        """What has reached Twilio, but for the sentences that confirm a STOP."""
        return [message.body for message in self.site.twilio.messages if message.body not in OPTED_OUT.values()]

    async def stopped(self, person: str = ANA) -> None:
        """STOP comes, and is obeyed at once."""
        assert (await self.site.say("STOP", sender=person)).status == 200
        await self.site.until(lambda: bool(self.site.rows(LATENCY, person)), "STOP is recorded")
        [(latency,)] = self.site.rows(LATENCY, person)
        assert latency < AT_ONCE_MS, self.site.logs()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A worker with two slots."""
    async with LoopbackModel() as model:
        settings = {
            "CONVOQ_AI__MODEL": "loopback",
            "CONVOQ_AI__BASE_URL": model.base_url,
            "CONVOQ_WORK__CONCURRENCY": "2",
            "CONVOQ_CONVERSATION__MAX_WAIT": "30",
        }
        async with open_site(tmp_path, **settings) as site:
            site.twilio.delivery = ()
            worker = await site.start("work")
            await site.serve()
            await site.until(lambda: "role.started" in worker.output, "the worker has started")
            yield Shop(site, model)


async def test_stop_waits_for_no_slot_and_no_model(shop: Shop) -> None:
    shop.model.mode = ModelFault.HANG
    for person in (ANA, BEN, CLEO):
        await shop.site.say("hello", sender=person)
    await shop.model.wait_for_requests(2)
    await shop.stopped()
    outcomes = "SELECT body, outcome FROM messages WHERE outcome IS NOT NULL ORDER BY id"
    assert shop.site.rows(outcomes) == [("hello", "opted_out"), ("STOP", "keyword")]


async def test_after_stop_no_part_goes_out_that_had_not_left(shop: Shop) -> None:
    shop.model.reply = lambda _: "word " * 900  # three parts
    shop.site.twilio.fail_next(slow(0.5), times=3)
    await shop.site.say("hello", sender=ANA)
    await shop.site.twilio.wait_for(lambda twilio: twilio.requests == 1)
    await shop.stopped()
    await shop.site.until_quiet()
    assert len(shop.sent) == 1
    assert shop.site.rows(PARTS) == [
        ("sent", None),
        ("failed", "opted_out"),
        ("failed", "opted_out"),
    ]


async def test_stop_ends_a_send_that_waits_for_its_retry(shop: Shop) -> None:
    shop.site.twilio.fail_next(too_many("3600"))
    await shop.site.say("hello", sender=ANA)
    await shop.site.until(lambda: shop.site.rows("SELECT state, attempts FROM outbox") == [("ready", 1)], "it waits")
    await shop.stopped()
    assert shop.site.rows(PARTS) == [("failed", "opted_out")]


async def a_notice_that_waits(shop: Shop) -> None:
    """A message of ours before which Twilio asks for an hour."""
    await shop.site.say("hello", sender=ANA)
    await shop.site.until_quiet()
    shop.site.twilio.fail_next(too_many("3600"))
    (shop.site.directory / "convoq.toml").write_text('[database]\npath = "convoq.db"\n')
    async with connect(shop.site.directory / "convoq.toml") as client:
        await client.send(sender=NUMBER, to=ANA, body="your table is ready")
    waits = "SELECT 1 FROM outbox WHERE state = 'ready' AND attempts = 1"
    await shop.site.until(lambda: bool(shop.site.rows(waits)), "it waits")


async def a_draft_at_its_last_chance(shop: Shop) -> None:
    """Two have given way, and no further message would end the third."""
    shop.model.mode, asked = ModelFault.HANG, len(shop.model.requests)
    for number, text in enumerate(("one", "two", "three"), start=1):
        await shop.site.say(text, sender=BEN)
        await shop.model.wait_for_requests(asked + number)
    assert shop.site.rows("SELECT max(superseded) FROM threads") == [(2,)]


async def a_turn_that_fails(shop: Shop) -> None:
    """It backs off before it is tried again."""
    shop.model.mode = ModelFault.SERVER_ERROR
    await shop.site.say("hello", sender=CLEO)
    waits = "SELECT 1 FROM lanes WHERE reason IS NOT NULL AND lane LIKE '%' || ?"
    await shop.site.until(lambda: bool(shop.site.rows(waits, CLEO)), "it waits")


async def test_stop_waits_for_nothing_of_the_persons_own(shop: Shop) -> None:
    for person, stuck in ((ANA, a_notice_that_waits), (BEN, a_draft_at_its_last_chance), (CLEO, a_turn_that_fails)):
        await stuck(shop)
        sent = shop.sent
        await shop.stopped(person)
        assert shop.site.rows(UNSETTLED, person, person) == []
        assert shop.sent == sent
    assert shop.site.rows("SELECT DISTINCT outcome FROM messages WHERE body IN ('one', 'two', 'three')") == [
        ("opted_out",)
    ]


async def test_what_is_written_between_stop_and_start_is_never_answered(shop: Shop) -> None:
    await shop.stopped()
    for text in ("are you there?", "START", "hello again"):
        await shop.site.say(text, sender=ANA)
    await shop.site.until_quiet()
    said = " ".join(message.body for message in shop.site.twilio.messages)
    assert "hello again" in said
    assert "are you there?" not in said
    assert all("are you there?" not in str(request.body) for request in shop.model.requests)
