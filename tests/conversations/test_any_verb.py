"""After any verb of an operator the file is sound, and status and lists name only those who can still be helped."""

from __future__ import annotations

import random
from collections import Counter

from convoq.ai.base import ReplyContext
from convoq.conversations.queries import Reading
from convoq.conversations.search import ConversationFilter
from convoq.errors import Snooze, Unrecoverable
from convoq.jobs import turn_key
from convoq.loopback.faults import TwilioFault, reset, too_many
from convoq.monitoring.snapshot import take
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import OURS, House, about, waiting
from tests.stores import on_each

Faults = tuple[TwilioFault, ...]
SEEDS = 10
VERBS = 25
DELAYED: Faults = (too_many("3600"),)
UNKNOWN: Faults = (reset(accepted=False),)
STUCK: dict[str, Faults] = {"asleep": (), "poisoned": (), "delayed": DELAYED, "unknown": UNKNOWN}


def person(number: int) -> str:
    return f"whatsapp:+1555123100{number}"


async def arrange(house: House) -> None:
    """Eight people; of each something is stuck, in another way."""
    house.responder.always = stumbling
    for number, (text, faults) in enumerate(STUCK.items()):
        house.twilio._next_faults.extend(faults)
        await house.hear(text, sender=person(number))
        await house.step()
    for number, faults in enumerate((DELAYED, UNKNOWN, ()), start=4):
        await house.hear("hello", sender=person(number))  # so that WhatsApp takes free text
        await house.step()
        house.twilio._next_faults.extend(faults)
        job_id = await house.send(f"notice {number}", to=person(number))
        if number == 6:  # its workers died before they could write it down
            await house.change("UPDATE jobs SET attempt = max_attempts WHERE id = ?", int(job_id))
        await house.step()
    await house.hear("unread", sender=person(7))
    house.responder.always = None


def stumbling(context: ReplyContext) -> str:
    match waiting(context)[-1]:
        case "asleep":
            raise Snooze(3600, "later")
        case "poisoned":
            raise Unrecoverable("never")
    return about(context)


async def act(house: House, chance: random.Random) -> None:
    """One verb on one job, or a round of the worker."""
    engine = house.engine
    verb = chance.choice([engine.cancel, engine.cancel, engine.discard, engine.retry_dead, engine.run_now, None])
    job = chance.choice(await engine.list(JobFilter(), limit=100))
    if verb is None:
        await house.step()
    else:
        await verb(JobFilter(ids=(job.id,)))


async def named(house: House, where: ConversationFilter) -> set[str]:
    return {summary.conversation.contact.address for summary in await Reading(house.database).find(where)}


async def with_jobs(house: House, state: JobState) -> set[str]:
    found = await house.engine.list(JobFilter(states=(state,)), limit=100)
    return {job.ordering_key.rpartition("|")[2] for job in found if job.ordering_key}


async def check(house: House) -> None:
    assert await house.flaws() == []
    unfinished, dead = await with_jobs(house, JobState.READY), await with_jobs(house, JobState.DEAD)
    waits = await named(house, ConversationFilter(waiting=True))
    assert waits <= unfinished
    assert await named(house, ConversationFilter(failed=True)) <= dead
    snapshot = await take(house.database, house.engine)
    unread = await house.engine.count(JobFilter(kinds=("receive_message",), states=(JobState.READY,)))
    assert snapshot.waiting == len(waits) + unread
    assert (snapshot.waiting_since is None) == (snapshot.waiting == 0)
    assert snapshot.overview.failed == 0 or dead


async def check_end(house: House) -> None:
    """What Twilio has is what counts as sent; of what was cancelled nothing has gone out."""
    await house.settle()
    await check(house)
    bodies = await house.rows("SELECT body FROM outbox WHERE state = 'sent' ORDER BY id")
    assert Counter(house.sent) == Counter(body for (body,) in bodies)
    assert set(await house.outbox_states()) <= {"sent", "failed", "cancelled"}


@on_each("seed", sqlite=range(SEEDS), postgres=range(SEEDS // 3))
async def test_any_verb_leaves_a_sound_file_and_a_status_that_names_nobody_who_is_settled(
    house: House, seed: int
) -> None:
    chance = random.Random(seed)
    await arrange(house)
    await check(house)
    for _ in range(VERBS):
        await act(house, chance)
        await check(house)
    await check_end(house)


async def test_a_line_of_jobs_that_is_cancelled_whole_leaves_nobody_waiting(house: House) -> None:
    await arrange(house)
    for number in range(8):
        await house.engine.cancel(JobFilter(ordering_key=turn_key("twilio", OURS, person(number))))
    await check(house)
    assert await named(house, ConversationFilter(waiting=True)) == set()
