"""The short form: each scenario once, for seconds instead of minutes. `python -m tests.fire` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fire.clocks import faketime
from tests.fire.rounds import Round, under_fire

pytestmark = [pytest.mark.fire, pytest.mark.process, pytest.mark.long]


async def test_stopped_workers_and_lost_answers_leave_one_reply_to_each_message(tmp_path: Path) -> None:
    pauses, twilio = await under_fire(tmp_path, Round("pauses", 7), Round("twilio", 7))
    assert pauses.counts["pauses"] >= 3
    assert any(", taken" in name for name in twilio.counts)


async def test_three_hundred_random_timelines_are_answered_once_in_order_and_never_after_a_stop(tmp_path: Path) -> None:
    [timelines] = await under_fire(tmp_path, Round("timelines", 12))
    assert timelines.counts["timelines"] == 300
    assert timelines.counts["STOPs"] > 50
    assert all(timelines.counts[harm] > 0 for harm in ("SIGKILLs", "pauses"))


async def test_a_colleague_who_steps_in_silences_the_ai_whatever_workers_die(tmp_path: Path) -> None:
    [takeovers] = await under_fire(tmp_path, Round("takeovers", 6))
    assert takeovers.counts["timelines"] == 30
    assert takeovers.counts["SIGKILLs"] + takeovers.counts["pauses"] > 0
    assert all(takeovers.counts[what] > 0 for what in ("take-overs", "give-backs", "texts of colleagues"))


async def test_a_broken_model_a_foreign_lock_and_strangers_cost_nobody_an_answer(tmp_path: Path) -> None:
    rounds = Round("model", 15), Round("locks", 5), Round("storm", 5)
    model, locks, storm = await under_fire(tmp_path, *rounds)
    assert any(name.startswith("model: ") for name in model.counts)
    assert locks.counts["answered 503"] > 0
    assert storm.counts["hostile requests"] >= 50


async def test_a_disk_without_room_is_answered_503_and_recovers(tmp_path: Path) -> None:
    for section in await under_fire(tmp_path, *(Round("disks", 0, number, harms=1) for number in range(3))):
        assert section.counts["answered 503"] > 0


@pytest.mark.skipif(faketime() is None, reason="libfaketime is not installed")
async def test_a_wall_clock_that_jumps_strands_nothing(tmp_path: Path) -> None:
    [clocks] = await under_fire(tmp_path, Round("clocks", 4))
    assert clocks.counts["clock jumps"] >= 1
