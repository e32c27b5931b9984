"""The two clocks."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from convoq.clock import BootClock, WallClock, boot_id, since_boot


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
