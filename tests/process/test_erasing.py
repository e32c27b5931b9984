"""A person is erased while the roles run, and they go on."""

from __future__ import annotations

import asyncio

import pytest

from tests.process.harness import Site

pytestmark = pytest.mark.process

ANA, BEN = "whatsapp:+15551230001", "whatsapp:+15551230002"


async def test_while_the_roles_run_number_and_texts_leave_every_file(site: Site) -> None:
    await site.serve()
    await site.start("work")
    await site.start("schedule")
    for number in range(5):
        assert (await site.say(f"the lilac wardrobe {number}?", sender=ANA)).status == 200
        assert (await site.say(f"the green wardrobe {number}?", sender=BEN)).status == 200
    await site.until_quiet()
    erasing = await site.start("contacts", "erase", "+1 555 123 0001", "--yes", "--as", "Marta")
    ended = asyncio.create_task(erasing.ended())
    while not ended.done():  # others write on
        assert (await site.say("is the green one sold?", sender=BEN)).status in (200, 503)
    assert await ended == 0, erasing.output
    await site.until_quiet()
    files = [path for path in site.database.parent.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert [str(path) for path in files if b"15551230001" in path.read_bytes() or b"lilac" in path.read_bytes()] == []
    assert (await site.say("and is the lilac one there?", sender=ANA)).status == 200
    await site.until_quiet()
    assert [message.to for message in site.twilio.messages][-1] == ANA
    check = await site.start("db", "check")
    assert await check.ended() == 0, check.output
