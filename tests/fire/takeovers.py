"""People with a random timeline each, and colleagues who step in while workers die in the middle of replies."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Final, NamedTuple

from convoq.loopback import faults
from convoq.loopback.dialects import ChatMessage
from convoq.loopback.faults import ModelFault
from convoq.loopback.messages import Event, TwilioMessage
from tests.fire.audit import audit_acceptance, audit_soundness, each
from tests.fire.colleagues import Colleagues, Mute, colleagues
from tests.fire.crowd import WORDS, Crowd
from tests.fire.logbook import read_logs
from tests.fire.pauses import LEASE
from tests.fire.peers import TOKEN, covering
from tests.fire.plan import Plan
from tests.fire.report import Section, quantile
from tests.fire.roles import SupervisedRole
from tests.fire.site import Site, open_site
from tests.fire.timelines import harm_worker

PEOPLE_A_SECOND = 5  # of the round: 300 in one of a minute
HARM = 3.0  # seconds between two kills or pauses of one worker, on average
REPLY_PATIENCE = 10.0  # seconds that a colleague watches for a reply to begin
TIMED = 200  #: take-overs of which the time is taken
GIVEN_BACK = 0.7  #: the share of conversations that are the AI's again in the end
#: Long enough for several parts.
PARAGRAPH: Final = "\n\n" + "And this is another part of the answer. " * 38
JUDGED = ("said after a take-over", "lost", "blind", "sent twice")
SETTINGS: Final[dict[str, Any]] = {
    "CONVOQ_QUEUE__VISIBILITY_TIMEOUT": f"{LEASE:g}", "CONVOQ_WORK__CONCURRENCY": "32",
    "CONVOQ_CONVERSATION__IDLE_AFTER": "3600", "CONVOQ_CONVERSATION__EXPIRE_AFTER": "7200",
}  # fmt: skip


async def takeovers(plan: Plan) -> Section:
    section = Section(
        "takeovers", "one random timeline a person, with take-overs and give-backs; kills, paused workers"
    )
    section.counts.update(dict.fromkeys(("timelines", "take-overs", *JUDGED), 0))
    async with (
        open_site(plan.directory, engine=plan.engine, modelled=True, **SETTINGS) as site,
        colleagues(site, section, random.Random(plan.rng.random())) as desk,
    ):
        arrivals = prepare(site)
        people = People(site, plan.rng, desk, arrivals)
        async with _harming(site, section, plan.rng), asyncio.TaskGroup() as group:
            for number in range(round(PEOPLE_A_SECOND * plan.seconds)):
                group.create_task(people.live(number, random.Random(plan.rng.random()), plan.seconds))
                section.count("timelines")
        await site.until_ready()
        await site.until(site.engine.queue.is_quiet, "the queue is empty")
        await _measure(desk, people, section)
        codes = await site.drain()
        section.expect(set(codes) == {0}, f"exit codes after SIGTERM: {codes}")
        section.problems += site.unmet
        audit_acceptance(people, section)
        audit_mutes(site, desk, arrivals, section)
        _audit_messages(site, people, section)
        _audit_colleagues(site, desk, section)
        audit_soundness(site, section)
        read_logs(site, section, {})
    return section


async def _measure(desk: Colleagues, people: People, section: Section) -> None:
    """When nothing is harmed any more, and all four processes are at work."""
    person = next(one.person for one in people.messages if one.accepted is not None and not desk.has(one.person))
    took = await desk.time_take_overs(person, TIMED)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        section.worst(f"take-over to mute, {name} of {TIMED} in ms", quantile(took, share) * 1000)


@asynccontextmanager
async def _harming(site: Site, section: Section, rng: random.Random) -> AsyncIterator[None]:
    """Inside, both workers are killed and paused, however long it takes."""

    async def harm(role: SupervisedRole, rng: random.Random) -> None:
        while True:
            await asyncio.sleep(rng.expovariate(1 / HARM))  # the rhythm of the harm
            if role.ready:  # on a slow machine it would else never come to work
                await harm_worker(section, role, rng)

    harms = [asyncio.create_task(harm(role, random.Random(rng.random()))) for role in site.workers]
    try:
        yield
    finally:
        for one in harms:
            one.cancel()
        await asyncio.gather(*harms, return_exceptions=True)


def prepare(site: Site) -> Arrivals:
    """Replies of three parts from here on, slow ones, so that a colleague may come into one."""
    site.twilio.fault, site.twilio.delivery = faults.slow(0.1), ()
    site.model.reply, site.model.mode = in_parts, ModelFault.SLOW
    arrivals = Arrivals()
    site.twilio.listen(arrivals.note)
    return arrivals


def in_parts(messages: Sequence[ChatMessage]) -> str:
    return covering(messages) + 3 * PARAGRAPH


class Arrival(NamedTuple):
    at: float
    message: TwilioMessage


class Arrivals:
    """What reached Twilio for whom, and when."""

    def __init__(self) -> None:
        self._by_person: dict[str, list[Arrival]] = defaultdict(list)
        self._came: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def note(self, event: Event, message: TwilioMessage) -> None:
        if event == "message":
            self._by_person[message.to].append(Arrival(monotonic(), message))
            self._came[message.to].set()

    def in_mute(self, mute: Mute) -> list[Arrival]:
        return [one for one in self._by_person[mute.person] if mute.began < one.at < mute.ended]

    async def next(self, person: str) -> None:
        """Returns once something reaches Twilio for them, or nothing has for a while."""
        self._came[person].clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._came[person].wait(), REPLY_PATIENCE)


class People(Crowd):
    """Each lives one timeline, to its end."""

    def __init__(self, site: Site, rng: random.Random, desk: Colleagues, arrivals: Arrivals) -> None:
        super().__init__(site, rng)
        self._desk = desk
        self._arrivals = arrivals

    async def live(self, number: int, rng: random.Random, seconds: float) -> None:
        await asyncio.sleep(rng.uniform(0, seconds))  # people begin at different times
        sequence = iter(range(100))
        first = await self.say(number, rng.choice(WORDS), next(sequence))
        if first.accepted is None:
            return
        person = first.person
        for _ in range(rng.randint(3, 6)):
            match rng.choices(("write", "step in", "reply", "give back", "pause"), (3, 5, 2, 4, 1))[0]:
                case "step in" if not self._desk.has(person):
                    await self._step_in(number, person, next(sequence), rng)
                case "reply":
                    await self._desk.reply(person, f"It is {number}.{next(sequence)}, says a colleague.")
                case "give back" if self._desk.has(person):
                    await self._desk.release(person)
                case "pause":
                    await self._desk.pause(person)
                    await self.say(number, rng.choice(WORDS), next(sequence))
                    await self._desk.resume(person)
                case _:
                    for _ in range(rng.randint(1, 3)):
                        await self.say(number, rng.choice(WORDS), next(sequence))
            await asyncio.sleep(rng.expovariate(2))  # until the next act
        if self._desk.has(person) and rng.random() < GIVEN_BACK:
            await self._desk.release(person)

    async def _step_in(self, number: int, person: str, sequence: int, rng: random.Random) -> None:
        """Mostly when the first part of a reply has left, else at any moment of it."""
        await self.say(number, rng.choice(WORDS), sequence)
        if rng.random() < 0.7:
            await self._arrivals.next(person)
        await asyncio.sleep(rng.uniform(0, 0.3))  # a moment of its own within a reply
        await self._desk.take_over(person)


def audit_mutes(site: Site, desk: Colleagues, arrivals: Arrivals, section: Section) -> None:
    """Between a take-over's return and the give-back no part reached Twilio but those whose request had begun."""
    of_ai = {reference for (reference,) in site.rows(PARTS_OF_AI)}
    broken = []
    for mute in desk.mutes:
        said = [one for one in arrivals.in_mute(mute) if one.message.reference in of_ai]
        late = [one for one in said if one.message.reference not in mute.begun]
        section.count("  parts that had, and came after it", len(said) - len(late))
        broken += [f"{one.message.sid} came {one.at - mute.began:.3f} s after a take-over: {mute}" for one in late]
    section.count("said after a take-over", len(broken))
    each(section, broken)


class Row(NamedTuple):
    """What a person wrote, as it stands in the end."""

    sid: str
    body: str
    outcome: str | None
    owner: str  #: of its conversation
    author: str | None  #: of the answer
    reply: str | None
    reply_id: int | None

    @property
    def token(self) -> str:
        return str(TOKEN.findall(self.body)[0])


def _audit_messages(site: Site, people: People, section: Section) -> None:
    found = [Row(*row) for row in site.rows(ROWS)]
    at_twilio = {message.reference for message in site.twilio.messages}
    sent = {
        message
        for message, reference in site.rows("SELECT message_id, reference FROM outbox")
        if reference in at_twilio
    }
    recorded = {row.sid for row in found}
    lost = [m.token for m in people.messages if m.accepted is not None and m.sid not in recorded]
    findings = [("lost", token) for token in lost]
    for row in found:
        ending = _ending_of(row, sent)
        section.count(ending)
        findings += [(ending, repr(row._replace(reply=(row.reply or "")[:60])))] if ending in JUDGED else []
    each(section, [f"{kind}: {what}" for kind, what in findings])
    copies = Counter(message.reference for message in site.twilio.messages)
    twice = [reference for reference, times in copies.items() if times > 1]
    section.count("sent twice", len(twice))
    each(section, [f"sent twice: {reference}" for reference in twice])


def _ending_of(row: Row, sent: set[int]) -> str:
    """How it ended for who wrote it; `sent`: the messages of ours of which any part reached Twilio."""
    left = row.reply_id in sent
    match row:
        case Row(outcome="answered", author="ai", reply=str(text)) if row.token not in text:
            return "blind"
        case Row(outcome="answered", author="ai") if left:
            return "answered by the AI"
        case Row(outcome="human", author="operator") if left:
            return "answered by a colleague"
        # A colleague has it before them, with the answer that did not leave.
        case Row(outcome="human" | "answered", owner="human"):
            return "a colleague's to answer"
        case _:
            return "lost"


def _audit_colleagues(site: Site, desk: Colleagues, section: Section) -> None:
    """Each text of theirs was sent once, to whom it was for."""
    to: Mapping[str, list[str]] = defaultdict(list)
    for message in site.twilio.messages:
        to[message.body].append(message.to)
    section.count("texts of colleagues", len(desk.said))
    each(section, [f"{text!r} went to {to[text]}" for text, person in desk.said.items() if to[text] != [person]])


PARTS_OF_AI: Final = (
    "SELECT o.reference FROM outbox AS o JOIN messages AS m ON m.id = o.message_id WHERE m.author = 'ai'"
)
ROWS: Final = """
    SELECT substr(m.source, 8), m.body, m.outcome, v.owner, r.author, r.body, r.id
    FROM messages AS m JOIN conversations AS v ON v.id = m.conversation_id
    LEFT JOIN messages AS r ON r.id = m.answered_by
    WHERE m.direction = 'in' ORDER BY m.id
"""
