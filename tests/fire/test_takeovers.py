"""A take-over in the middle of a reply, and the control: without the look before each part the rest of it goes out."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fire import unmuted_worker
from tests.fire.colleagues import colleagues
from tests.fire.crowd import Crowd
from tests.fire.report import Section
from tests.fire.site import open_site
from tests.fire.takeovers import SETTINGS, audit_mutes, prepare

pytestmark = [pytest.mark.fire, pytest.mark.process, pytest.mark.long]


async def test_after_a_take_over_the_rest_of_the_reply_stays_unsent(tmp_path: Path) -> None:
    section, parts = await taken_over_in_a_reply(tmp_path)
    assert (section.problems, section.counts["said after a take-over"]) == ([], 0)
    assert parts < 3


async def test_without_the_look_before_each_part_the_audit_fails(tmp_path: Path) -> None:
    section, parts = await taken_over_in_a_reply(tmp_path, (sys.executable, str(Path(unmuted_worker.__file__)), "work"))
    assert parts == 3
    assert section.counts["said after a take-over"] > 0


async def taken_over_in_a_reply(directory: Path, worker: Sequence[str] = ()) -> tuple[Section, int]:
    """What the audit says, and how many of the reply's three parts reached Twilio."""
    section = Section("control", "a colleague takes over when the first part of a reply has left")
    rng = random.Random(1)
    async with (
        open_site(directory, modelled=True, worker=worker, **SETTINGS) as site,
        colleagues(site, section, rng) as desk,
    ):
        arrivals = prepare(site)
        site.workers[1].hold()  # the first one alone is at work
        site.workers[1].kill()
        crowd = Crowd(site, rng, again=0.0)
        person = (await crowd.say(0, "are you open?", 0)).person
        await arrivals.next(person)
        await desk.take_over(person)
        await site.until(site.engine.queue.is_quiet, "the queue is empty")
        audit_mutes(site, desk, arrivals, section)
    return section, len(site.twilio.messages)
