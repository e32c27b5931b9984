"""The wall clock jumps by hours and days under running processes: nothing is stranded, doubled or reordered."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.fire.audit import settle
from tests.fire.crowd import Crowd
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site

LIBRARY = "FIRE_FAKETIME"  # where libfaketimeMT.so.1 is, when it is in none of the usual places
PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
STEPS = ("+1h", "-1h", "+2d", "-2d", "+30d", "-400d", "+13m", "-7s", "+3s", "+0")
LONGEST_WAIT = 10.0  # seconds for a reply, however the clock jumps


async def clocks(plan: Plan) -> Section:
    section = Section("clocks", "the wall clock jumps by hours and days (libfaketime)")
    library = faketime()
    if library is None:
        section.skipped = f"libfaketime is not here: install the package libfaketime, or set {LIBRARY}"
        return section
    plan.directory.mkdir(parents=True)
    hands = plan.directory / "clock"
    hands.write_text("+0\n")
    async with open_site(
        plan.directory,
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(hands),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        # Its own correction of condition variables turns every wait for Python's interpreter lock into a busy loop.
        FAKETIME_FORCE_MONOTONIC_FIX="0",
        CONVOQ_QUEUE__VISIBILITY_TIMEOUT="2",
    ) as site:
        # By the wall clock WhatsApp takes nothing after such a jump: that is the rule, and no stranding.
        crowd = Crowd(site, plan.rng, whatsapp=False)
        plan.begin()
        async with crowd.writing():
            await _turn(plan, site, section, hands, random.Random(plan.rng.random()))
        hands.write_text("+0\n")
        await settle(site, crowd, section)
        slow = max(section.times["from 2xx to the reply"])
        section.expect(slow < plan.bar(LONGEST_WAIT), f"a reply came {slow:.1f} s after its message")
    return section


async def _turn(plan: Plan, site: Site, section: Section, hands: Path, rng: random.Random) -> None:
    while await plan.wait(rng.expovariate(1.5)):
        _write_whole(hands, rng.choice(STEPS))
        section.count("clock jumps")
        if rng.random() < 0.25:
            section.count("SIGKILLs meanwhile", rng.choice(list(site.roles.values())).kill() is not None)
        plan.doing(f"{section.counts['clock jumps']} jumps")


def _write_whole(file: Path, text: str) -> None:
    """A rename is atomic: no process reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(text + "\n")
    new.replace(file)


def faketime() -> Path | None:
    """The library that moves a process's wall clock, where it is installed."""
    if named := os.environ.get(LIBRARY):
        return Path(named)
    found = [path for place in PLACES for path in Path("/").glob(place.removeprefix("/"))]
    return found[0] if found else None
