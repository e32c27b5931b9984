"""Twilio takes messages and its answers are lost, or it refuses for now; the model hangs, drips, lies and refuses."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections.abc import Sequence

from convoq.loopback import faults
from convoq.loopback.faults import ModelFault
from tests.fire.audit import settle
from tests.fire.crowd import Crowd
from tests.fire.peers import FINAL, TOKEN
from tests.fire.plan import Plan
from tests.fire.report import Section, quantile
from tests.fire.site import Site, open_site

LOST_ANSWERS = (
    faults.reset(), faults.hang(), faults.error(accepted=True), faults.error(accepted=True, status=503),
    faults.garbage(), faults.slow(2.5),
)  # fmt: skip
NOT_TAKEN = (
    faults.too_many("1"), faults.too_many(None), faults.reset(accepted=False), faults.hang(accepted=False),
    faults.error(accepted=False), faults.error(accepted=False, status=503), faults.garbage(accepted=False),
)  # fmt: skip
LISTS = (
    faults.TwilioFault(accepts=False, answer="error", status=500, on="read"),
    faults.TwilioFault(accepts=False, answer="reset", on="read"),
)
PASSING = (
    ModelFault.HANG, ModelFault.DRIP, ModelFault.RESET, ModelFault.TRUNCATED, ModelFault.GARBAGE,
    ModelFault.WRONG_TYPES, ModelFault.HTML, ModelFault.HUGE, ModelFault.COMPRESSED, ModelFault.EMPTY,
    ModelFault.RATE_LIMITED, ModelFault.SERVER_ERROR, ModelFault.OVERLOADED, ModelFault.UTF16,
)  # fmt: skip
FOR_ALL = (ModelFault.UNAUTHORIZED, ModelFault.NO_CREDIT, ModelFault.NOT_FOUND)  #: held until it is mended
REFUSED_FOR = 2.0  # seconds
AFTERMATH = 15.0  # seconds for which a fault may still be felt in the conversation that it has hit
PROMPT = 5.0  # seconds within which those are answered whom no fault has hit
LARGEST_WORKER = 400.0  # MB, with 20 MB answers coming in


async def twilio_faults(plan: Plan) -> Section:
    section = Section("twilio", "Twilio takes a message and its answer is lost, or it does not take it")
    async with open_site(plan.directory, engine=plan.engine) as site:
        # Without callbacks nothing but the list of messages can tell what became of a send.
        site.twilio.delivery = () if plan.number % 2 == 0 else (("sent", None), ("delivered", None))
        crowd = Crowd(site, plan.rng, size=30, think=1.2)
        plan.begin()
        async with crowd.writing():
            while await plan.wait(plan.rng.expovariate(3)):
                [faults] = plan.rng.choices((LOST_ANSWERS, NOT_TAKEN, LISTS), (6, 3, 1))
                # Where many in a row go wrong, one asks for all: what is queued faster would outlast the round.
                if not site.twilio.has_queued(faults[0].on):
                    site.twilio.fail_next(plan.rng.choice(faults))
                plan.doing(f"{sum(site.twilio.faults.values())} faults")
        await settle(site, crowd, section)
        section.counts.update(dict(sorted(site.twilio.faults.items())))
        _check_others(site, crowd, section, site.twilio.hit, plan.bar(PROMPT))
        tried = len(site.twilio.messages) + sum(n for name, n in site.twilio.faults.items() if "not taken" in name)
        section.expect(site.twilio.requests <= tried, f"{site.twilio.requests} requests for {tried} that were due")
    return section


async def model_faults(plan: Plan) -> Section:
    section = Section("model", "the model hangs, drips, lies, drowns us, refuses")
    async with open_site(plan.directory, engine=plan.engine, modelled=True) as site:
        crowd = Crowd(site, plan.rng, size=30, think=1.5)
        plan.begin()
        async with crowd.writing():
            await asyncio.gather(_disturb(plan, site, random.Random(plan.rng.random())), _weigh(plan, site, section))
            refused_from = time.monotonic()
            await _refuse_all(plan, site)
        await _operate(site, section, "run-now")
        # Workers bring back by themselves what they had buried, once others are refused alike.
        revived = await _revive(site, section) | site.model.refused
        await settle(site, crowd, section, revived=revived, explained={
            "job.buried": "the model said for good that it won't: an operator retries, as `convoq jobs retry` did here",
            "ai.refused": "the provider refused our key or account: the messages were held until it took them again",
        })  # fmt: skip
        section.counts.update(dict(sorted(site.model.faults.items())))
        people = {message.token: message.person for message in crowd.messages}
        hits = [(people[token], at) for token, at in site.model.hit]
        _check_others(site, crowd, section, hits, plan.bar(PROMPT), refused_from)
        section.expect(
            section.highest["largest worker, MB"] < LARGEST_WORKER,
            f"a worker took {section.highest['largest worker, MB']:.0f} MB",
        )
    return section


async def _disturb(plan: Plan, site: Site, rng: random.Random) -> None:
    """Each fault is queued once the one before it has found its victim."""
    while await plan.wait(rng.expovariate(2)):
        if sum(site.model.faults.values()) < len(site.model.requests):
            site.model.fail(rng.choice(FINAL if rng.random() < 0.2 else PASSING))
        plan.doing(f"{sum(site.model.faults.values())} faults")


async def _refuse_all(plan: Plan, site: Site) -> None:
    """The provider refuses whatever is asked, until an operator mends that and the workers are started again."""
    site.model.mode = plan.rng.choice(FOR_ALL)
    await asyncio.sleep(REFUSED_FOR)
    site.model.mode = None
    for worker in site.workers:
        worker.kill()


async def _weigh(plan: Plan, site: Site, section: Section) -> None:
    while await plan.wait(0.5):
        for role in site.workers:
            section.worst("largest worker, MB", role.peak_rss_mb)


async def _revive(site: Site, section: Section) -> set[str]:
    """What was buried is brought back the way an operator does it; the tokens of those messages."""
    await site.until(site.engine.queue.is_quiet, "all jobs are done or buried")
    buried = {token for (body,) in site.rows("SELECT body FROM messages WHERE outcome = 'failed'")
              for token in TOKEN.findall(body)}  # fmt: skip
    section.count("messages buried and brought back", len(buried))
    await _operate(site, section, "retry")
    return buried


async def _operate(site: Site, section: Section, verb: str) -> None:
    """As an operator does it."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "convoq", "jobs", verb, "--all", "--yes",
        cwd=site.directory, env=site.roles["serve"].environ, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    section.expect(await command.wait() == 0, f"`convoq jobs {verb}` failed")


def _check_others(
    site: Site,
    crowd: Crowd,
    section: Section,
    hits: Sequence[tuple[str, float]],
    prompt: float,
    until: float = math.inf,
) -> None:
    """Those whom no fault has hit are answered as if nothing had happened, as far as they wrote before `until`."""
    taken = {token: site.twilio.taken_at[reply.sid] for reply in site.twilio.messages
             for token in TOKEN.findall(reply.body)}  # fmt: skip
    section.count("conversations that were hit", len({person for person, _ in hits}))
    waits = []
    for message in crowd.messages:
        if message.accepted is not None and message.token in taken:
            begin, end = message.accepted - AFTERMATH, taken[message.token]
            if end < until and not any(person == message.person and begin < at < end for person, at in hits):
                waits.append(end - message.accepted)
                section.time("reply to those whom no fault hit", waits[-1])
    section.expect(not waits or quantile(waits, 0.95) < prompt, "the others had to wait")
