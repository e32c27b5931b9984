"""An operator's own phone over the whole way: a signed webhook, the worker, and an answer at Twilio."""

from __future__ import annotations

import pytest

from tests.process.harness import Site

pytestmark = pytest.mark.process

MARTA = "whatsapp:+34600000001"


async def test_an_operator_answers_a_customer_by_texting_our_number(site: Site) -> None:
    await site.serve()
    await site.start("work")
    assert (await site.say("are you open on Sunday?")).status == 200
    await site.until_quiet()
    for arguments in (("add", "Marta"), ("phone", "Marta", "+34 600 000 001")):
        command = await site.start("operators", *arguments, "--as", "root")
        assert await command.ended() == 0, command.output
    forged = await site.say("#1 forged", sender=MARTA, forged=True)
    assert forged.status == 403
    assert (await site.say("#1 From ten to two.", sender=MARTA)).status == 200
    await site.until(lambda: len([one for one in site.twilio.messages if one.to == MARTA]) == 1, "Marta is answered")
    await site.until_quiet()
    assert [one.body for one in site.twilio.messages if one.to != MARTA][-1] == "From ten to two."
    assert site.rows("SELECT who, act, way FROM audit WHERE conversation_id = 1") == [("Marta", "reply", "phone")]
    assert site.rows("SELECT count(*) FROM conversations") == [(1,)]
    assert site.rows("SELECT id FROM jobs WHERE payload LIKE '%ten to two%'") == []
