"""People with a random timeline each: bursts, words into a reply, redeliveries, STOP and START, while workers die."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from convoq.loopback import faults
from convoq.loopback.faults import ModelFault
from tests.fire.audit import audit_acceptance, audit_soundness, by_token, each, overtaken
from tests.fire.crowd import READ_TIMEOUT, WORDS, Crowd, Message
from tests.fire.logbook import read_logs
from tests.fire.pauses import LEASE
from tests.fire.peers import TOKEN
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.roles import SupervisedRole
from tests.fire.site import Site, open_site

PEOPLE_A_SECOND = 25  # of the round: 300 in one of twelve seconds
HARM = 1.5  # seconds between two kills or pauses of one worker, on average
JUDGED = ("unanswered", "blind", "doubled", "out of order", "said after a STOP")


async def timelines(plan: Plan) -> Section:
    section = Section("timelines", "one random timeline a person: bursts, redeliveries, STOP, kills, paused workers")
    section.counts.update(dict.fromkeys(("timelines", *JUDGED), 0))
    async with open_site(
        plan.directory, engine=plan.engine, modelled=True,
        CONVOQ_QUEUE__VISIBILITY_TIMEOUT=f"{LEASE:g}", CONVOQ_WORK__CONCURRENCY="32",
    ) as site:  # fmt: skip
        site.twilio.fault, site.twilio.delivery = faults.slow(0.1), ()
        site.model.mode = ModelFault.SLOW  # so that what is written meanwhile comes into a reply
        people = People(site, plan.rng)
        plan.begin()
        async with asyncio.TaskGroup() as group:
            for role in site.workers:
                group.create_task(_harm(plan, section, role, random.Random(plan.rng.random())))
            for number in range(round(PEOPLE_A_SECOND * plan.seconds)):
                group.create_task(people.live(number, random.Random(plan.rng.random()), plan.seconds))
                section.count("timelines")
        codes = await site.drain()
        section.expect(set(codes) == {0}, f"exit codes after SIGTERM: {codes}")
        section.problems += site.unmet
        audit_acceptance(people, section)
        _audit(site, people.messages, section)
        audit_soundness(site, section)
        read_logs(site, section, {})
    return section


class People(Crowd):
    """Each lives one timeline, to its end."""

    async def live(self, number: int, rng: random.Random, seconds: float) -> None:
        await asyncio.sleep(rng.uniform(0, seconds))  # people begin at different times
        mine: list[Message] = []
        sequence = iter(range(100))
        for _ in range(rng.randint(3, 7)):
            match rng.choices(("burst", "into the reply", "STOP", "START", "again"), (5, 3, 1, 1, 1))[0]:
                case "burst":
                    mine += [
                        await self.say(number, rng.choice(WORDS), next(sequence)) for _ in range(rng.randint(1, 4))
                    ]
                case "into the reply":
                    mine.append(await self.say(number, "one more thing", next(sequence)))
                    await asyncio.sleep(rng.uniform(0.1, 0.4))  # the model is at work by then
                    mine.append(await self.say(number, "and another", next(sequence)))
                case "again" if mine:
                    await self._try(rng.choice(mine), READ_TIMEOUT)
                case "STOP" | "START" as word:
                    await self._keyword(number, word)
            await asyncio.sleep(rng.expovariate(2))  # until the next act

    async def _keyword(self, number: int, word: str) -> None:
        message = self._compose(number, "", 0)
        form = [(name, word if name == "Body" else value) for name, value in message.form]
        await self._deliver(Message(word, message.sid, message.person, form))


async def _harm(plan: Plan, section: Section, role: SupervisedRole, rng: random.Random) -> None:
    while await plan.wait(rng.expovariate(1 / HARM)):
        await harm_worker(section, role, rng)


async def harm_worker(section: Section, role: SupervisedRole, rng: random.Random) -> None:
    """It is killed, or stands still beyond its lease."""
    if rng.random() < 0.5:
        section.count("SIGKILLs", role.kill() is not None)
        return
    role.pause()
    section.count("pauses")
    try:
        await asyncio.sleep(rng.uniform(1.3 * LEASE, 2 * LEASE))  # how long it stands still: the harm
    finally:
        role.resume()


class Row(NamedTuple):
    """What a person wrote, as it stands in the database; its answer, if it has one."""

    person: str
    id: int
    sid: str
    body: str
    outcome: str | None
    reply_id: int | None
    reply: str | None
    sent: int | None  #: whether all parts of the reply count as sent

    @property
    def token(self) -> str:
        return str(TOKEN.findall(self.body)[0])


def _audit(site: Site, messages: Sequence[Message], section: Section) -> None:
    """Each finding is counted under what it is, and told with all that is known of it."""
    found = [Row(*row) for row in site.rows(ROWS)]
    said = {token: [place for place, _ in places] for token, places in by_token(site.twilio.messages).items()}
    recorded = {row.sid for row in found}
    lost = [message.token for message in messages if message.accepted is not None and message.sid not in recorded]
    findings = [("unanswered", token) for token in lost]
    by_person: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        by_person[row.person].append(row)
    aside = overtaken(site)
    for rows in by_person.values():
        findings += [(kind, repr(row)) for kind, row in _judge(rows, said)]
        order = [said[row.token][0] for row in rows if _is_text(row) and row.token in said and row.token not in aside]
        findings += [("out of order", rows[0].person)] if order != sorted(order) else []
    for kind, _ in findings:
        section.count(kind)
    each(section, [f"{kind}: {what}" for kind, what in findings])
    section.count("STOPs", sum(row.body == "STOP" for row in found))
    section.count("answered", sum(row.outcome == "answered" for row in found))


def _judge(rows: Sequence[Row], said: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Row]]:
    """One person's messages, in the order in which they were recorded."""
    stops = [row.id for row in rows if row.body == "STOP"]
    stopped = False
    for row in rows:
        stopped = row.body == "STOP" or (stopped and row.body != "START")
        if not _is_text(row):
            continue
        times, later_stop = len(said.get(row.token, ())), any(row.id < stop for stop in stops)
        if row.outcome == "opted_out" and (stopped or later_stop):
            if times:
                yield "said after a STOP", row
        elif row.outcome != "answered" or row.reply is None or row.reply_id is None:
            yield "unanswered", row
        elif row.token not in row.reply:
            yield "blind", row
        elif stopped or any(row.id < stop < row.reply_id for stop in stops):
            yield "said after a STOP", row
        elif times > 1:
            yield "doubled", row
        elif times == 0 and (row.sent or not later_stop):
            yield "unanswered", row


def _is_text(row: Row) -> bool:
    return TOKEN.search(row.body) is not None


ROWS = """
    SELECT c.address, m.id, substr(m.source, 8), m.body, m.outcome, r.id, r.body,
           (SELECT min(CASE WHEN o.state = 'sent' THEN 1 ELSE 0 END) FROM outbox AS o WHERE o.message_id = r.id)
    FROM messages AS m JOIN threads AS t ON t.id = m.thread_id JOIN contacts AS c ON c.id = t.contact_id
    LEFT JOIN messages AS r ON r.id = m.answered_by
    WHERE m.direction = 'in' ORDER BY m.id
"""
