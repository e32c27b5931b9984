"""What hands, a service manager and the machine do to a running convoq, one harm after another, under load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from tests.fire import file_harms, process_harms
from tests.fire.audit import settle
from tests.fire.crowd import Crowd, first_200
from tests.fire.harmed import Harmed
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site

HARMS: Final[dict[str, Callable[[Harmed], Awaitable[None]]]] = {
    "the file is moved away while roles start": file_harms.moved_away_from_starts,
    "the file is moved away under running roles": file_harms.moved_away,
    "its log is removed under running roles": file_harms.log_removed,
    "a backup is put in its place, and taken back": file_harms.replaced_by_mistake,
    "the gate is replaced": file_harms.gate_replaced,
    "the workers' marks are removed": file_harms.marks_removed,
    "a reader pins the log": file_harms.reader_pins_the_log,
    "no log is read": process_harms.logs_unread,
    "SIGHUP by a service manager": process_harms.reloaded,
    "SIGHUP of a closed terminal": process_harms.terminal_closed,
    "a process stands still with the gate": process_harms.stopped_with_the_gate,
    "slow connections that come back": process_harms.slow_connections,
}
EXPLAINED: Final = {
    "while convoq was running": "the harm was noticed: the role ends with 78",
    "is missing, but": "a start without the file is refused",
    "job.outcome_unrecorded": "the file was taken away while a job ended: it is claimed again",
    "not written within": "the gate was held, or the file was gone, before the webhook could be answered",
}


async def harms(plan: Plan) -> Section:
    """Each in its turn, from one that the round's number names."""
    section = Section("harms", "files moved, logs unread, signals, stopped processes, slow clients")
    names = list(HARMS)
    async with open_site(plan.directory, modelled=plan.number % 2 == 0, CONVOQ_QUEUE__VISIBILITY_TIMEOUT="5") as site:
        crowd = Crowd(site, plan.rng, size=12)
        harmed = Harmed(site, crowd, section)
        plan.begin()
        async with crowd.writing():
            while plan.left() > 0:
                name = names[(plan.number + plan.done) % len(names)]
                plan.doing(name)
                await harmed.until_accepted(20)
                await HARMS[name](harmed)
                await _is_over(name, site, crowd, section)
                plan.done += 1
        await settle(site, crowd, section, explained=EXPLAINED)
    return section


async def _is_over(name: str, site: Site, crowd: Crowd, section: Section) -> None:
    ended = monotonic()
    await site.until_ready()
    await site.until(lambda: first_200(crowd.messages, ended) is not None, f"a 200 after: {name}")
    section.time("from a harm's end to the first 200", (first_200(crowd.messages, ended) or ended) - ended)
    section.count(f"harm: {name}")
