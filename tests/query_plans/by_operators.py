"""What operators ask for and a worker does."""

from __future__ import annotations

from functools import partial

from convoq.conversations import bulk_acts, erasures
from convoq.conversations.erasing import Erasing
from convoq.conversations.erasures import Erasures
from convoq.conversations.repair import Repair
from convoq.conversations.retention import Retention
from convoq.conversations.text_index import TextIndex
from convoq.handlers.erasing import Erasure
from convoq.queue.following import SharedFollowUps
from convoq.settings.retention import RetentionSettings
from tests.handlers.house import ANA, House


async def change_many(house: House) -> None:
    """An act on many jobs, and another one that is stopped."""
    for _ in range(2):
        bulk = await house.acts().do(lambda tx, actor, now: bulk_acts.add(tx, "discard", {}, 1, "9", actor.name, now))
    await house.acts().do(lambda tx, actor, now: bulk_acts.stop(tx, bulk.id, actor.name, now))
    await Repair(house.database).wake_work(SharedFollowUps(house.joined).enqueue)
    await house.step()


async def erase(house: House) -> None:
    erasing, texts = Erasing(house.database), TextIndex(house.database)
    erasure = Erasure(erasing, texts, house.engine, house.clock, house.database.scrub, channel="twilio")
    for address in (ANA, ANA, "whatsapp:+15559990000"):
        await house.hear("are you open?", sender=ANA)
        await house.step()
        await erasure.erase([address], house.acts().erase)
        house.clock.advance(1)
    await house.hear("are you open?", sender=ANA)
    await house.step()
    [(contact_id,)] = await house.rows("SELECT id FROM contacts WHERE address = ?", ANA)
    await house.acts().do(lambda tx, actor, now: erasures.ask(tx, contact_id, actor.name, now))
    begin = partial(SharedFollowUps, house.joined)
    await Repair(house.database).wake_work(begin().enqueue)
    await Erasures(house.database).cut_off()
    await erasure.complete(Erasures(house.database), begin, lambda: None)
    retention = Retention(house.database, RetentionSettings(texts_days=2, notes_days=2, audit_days=2))
    house.clock.advance(86_400 * 40)
    for name in ("erased", "texts", "notes", "audit", "keys", "notifications", "bulk_acts"):
        await getattr(retention, name)(10)
    await erasing.unfinished()
    await erasing.forget_hashes(house.clock.now(), 10)
