"""The two clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convoq.clock import BootClock, WallClock, boot_id, since_boot
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
