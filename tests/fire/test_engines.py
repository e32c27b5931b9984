"""The short form on servers, and the control: what the fire proves shows when the rules are taken out."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fire import stopping_worker, unfenced_worker
from tests.fire.audit import by_token, settle
from tests.fire.crowd import Crowd
from tests.fire.engines import ENGINES
from tests.fire.report import Section
from tests.fire.rounds import Round, under_fire
from tests.fire.site import open_site

pytestmark = [pytest.mark.fire, pytest.mark.process, pytest.mark.long]


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "sqlite"])
async def test_servers_that_are_stopped_under_load_lose_double_and_disorder_nothing(
    tmp_path: Path, engine: str
) -> None:
    [servers] = await under_fire(tmp_path, Round("servers", 0, harms=2, engine=engine))
    assert sum(count for name, count in servers.counts.items() if name.startswith("stops of ")) == 2
    assert (servers.counts["lost"], servers.counts["doubled"]) == (0, 0)


async def test_a_redis_that_forgets_everything_costs_no_answer_to_what_the_store_has(tmp_path: Path) -> None:
    [flushes] = await under_fire(tmp_path, Round("flushes", 0, harms=2, engine="redis+postgres"))
    assert flushes.counts["flushes"] == 2
    assert flushes.counts["messages answered"] > 0


async def test_without_the_token_and_the_look_at_what_still_waits_the_audit_fails(tmp_path: Path) -> None:
    unfenced = (sys.executable, str(Path(unfenced_worker.__file__)), "model_answered", "work")
    section = await woken_late(tmp_path, unfenced)
    assert section.problems, section.counts


async def test_with_them_the_same_harm_doubles_nothing(tmp_path: Path) -> None:
    fenced = (sys.executable, str(Path(stopping_worker.__file__)), "model_answered", "work")
    section = await woken_late(tmp_path, fenced)
    assert (section.counts["doubled"], section.problems) == (0, [])


async def woken_late(directory: Path, worker: Sequence[str]) -> Section:
    """A worker stands still right before its commit until another one has answered, and then goes on."""
    section = Section("control", "a worker stands still before a commit, and wakes when another has answered")
    async with open_site(directory, worker=worker, CONVOQ_QUEUE__VISIBILITY_TIMEOUT="1") as site:
        crowd = Crowd(site, random.Random(1), again=0.0)
        sleeper, other = site.workers
        other.pause()
        await crowd.say(0, "are you open?", 0)
        await site.until(lambda: sleeper.stands_still, "it stands still")
        other.resume()
        later = await crowd.say(0, "and on Sunday?", 1)
        await site.until(lambda: later.token in by_token(site.twilio.messages), "another has answered")
        sleeper.resume()
        await site.until(lambda: sleeper.has_said("job.lease_lost|reply.committed"), "it has gone on")
        await crowd.say(0, "and on Monday?", 2)  # whose turn also sends whatever is committed and has not left
        await settle(site, crowd, section)
    return section
