"""The clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convoq import clock as clock_module
from convoq.clock import BootClock, EngineClock, WallClock, boot_id, since_boot
from convoq.errors import PlatformUnsupported


def test_the_wall_clock_tells_the_time_people_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_760_000_000_123_999_999)
    assert WallClock().now() == 1_760_000_000_123


def test_a_wall_clock_that_jumps_does_not_move_the_queues_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = BootClock(anchor=1_000_000)
    before = clock.now()
    for jump in (-172_800, -3_600, 3_600, 172_800):
        wall = time.time_ns() + jump * 10**9
        monkeypatch.setattr(time, "time_ns", lambda wall=wall: wall)
        monkeypatch.setattr(time, "time", lambda wall=wall: wall / 1e9)
        assert 0 <= clock.now() - before < 5_000


def test_the_anchor_shifts_the_queues_clock_by_itself() -> None:
    assert 0 <= BootClock(500).now() - BootClock(0).now() - 500 < 100


def test_the_queues_clock_counts_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime_ns", {time.CLOCK_BOOTTIME: 7_999_999}.__getitem__)
    assert since_boot() == 7


def test_a_boot_has_one_name_in_every_process() -> None:
    program = "from convoq.clock import boot_id; print(boot_id())"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == boot_id()


def test_a_system_without_clock_boottime_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    with pytest.raises(PlatformUnsupported) as caught:
        since_boot()
    assert str(caught.value) == "this system has no CLOCK_BOOTTIME, the queue's clock: run convoq on Linux"
    assert caught.value.exit_code == 78


WITHOUT_BOOTTIME = """
import sys, time
del time.CLOCK_BOOTTIME
from convoq.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", [["db", "migrate"], ["schedule"]])
def test_a_command_on_a_system_without_clock_boottime_ends_with_that_sentence(
    command: list[str], tmp_path: Path
) -> None:
    database = tmp_path / "convoq.db"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CONVOQ_")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_BOOTTIME, *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env=environ | {"CONVOQ_DATABASE__PATH": str(database), "CONVOQ_DATABASE__MIN_FREE_MB": "0"},
    )  # fmt: skip
    assert done.returncode == 78
    assert done.stderr == "convoq: this system has no CLOCK_BOOTTIME, the queue's clock: run convoq on Linux\n"
    assert not database.exists()


def test_a_system_without_proc_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("convoq.clock.BOOT_ID", tmp_path / "boot_id")
    with pytest.raises(PlatformUnsupported, match=r"boot_id: No such file or directory: .* run convoq on Linux"):
        boot_id()


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ms since boot, as the engine's clock sees them."""
    moment = [1_000_000]
    monkeypatch.setattr(clock_module, "since_boot", lambda: moment[0])
    return moment


def compared(clock: EngineClock, engine: int, booted: list[int], way: int = 0) -> None:
    clock.compare(engine, asked=booted[0] - way, answered=booted[0])


def test_an_engines_clock_tells_the_engines_time(booted: list[int]) -> None:
    clock = EngineClock()
    compared(clock, 5_000_000, booted, way=200)
    assert clock.now() == 5_000_100  # it told its time half of the way ago
    booted[0] += 30_000
    assert clock.now() == 5_030_100


def test_an_engines_clock_is_stale_before_it_is_compared_and_a_minute_later(booted: list[int]) -> None:
    clock = EngineClock()
    stale = [clock.is_stale]
    compared(clock, 5_000_000, booted)
    stale.append(clock.is_stale)
    booted[0] += 60_000
    assert [*stale, clock.is_stale] == [True, False, True]


@pytest.mark.parametrize("drift", [-3_000, 3_000])
def test_an_engines_clock_catches_up_with_drift_by_a_hundredth_and_never_goes_back(
    drift: int, booted: list[int]
) -> None:
    clock = EngineClock()
    compared(clock, 5_000_000, booted)
    compared(clock, 5_000_000 + drift, booted)
    assert clock.now() == 5_000_000
    booted[0] += 10_000
    assert clock.now() - 5_010_000 == drift // 30
    booted[0] += 600_000
    assert clock.now() - 5_610_000 == drift


def test_what_the_way_to_the_engine_explains_moves_no_clock(booted: list[int]) -> None:
    clock = EngineClock()
    compared(clock, 5_000_000, booted)
    booted[0] += 1000
    compared(clock, 5_000_000, booted, way=4_000)
    booted[0] += 1000
    assert clock.now() == 5_002_000


@pytest.mark.parametrize("jump", [-3_600_000, 3_600_000])
def test_an_engine_whose_time_was_set_is_followed_at_once(jump: int, booted: list[int]) -> None:
    clock = EngineClock()
    compared(clock, 5_000_000, booted)
    compared(clock, 5_000_000 + jump, booted)
    assert clock.now() == 5_000_000 + jump
