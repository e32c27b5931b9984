"""The longest of the short forms; in a file of its own, as one worker of the suite runs a whole file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fire.rounds import Round, under_fire

KILLS = 100  #: about as many as two cores have time for in a minute and a half: each costs the start of a process

pytestmark = [pytest.mark.fire, pytest.mark.process, pytest.mark.long]


async def test_killed_processes_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    [kills] = await under_fire(tmp_path, Round("kills", 0, harms=KILLS))
    assert kills.counts["SIGKILLs"] >= KILLS
