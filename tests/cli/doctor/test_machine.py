"""The doctor's checks of the machine."""

from __future__ import annotations

import pytest

from convoq.cli.doctor import machine
from convoq.cli.doctor.machine import has_wal_reset_bug
from convoq.monitoring.findings import Level
from tests.cli.doctor.harness import findings, whole
from tests.cli.scenes import Place


def test_a_full_disk_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole() + "[database]\nmin_free_mb = 1000000000\n")

    assert findings(place, capsys, code=1)["disk space"]["level"] == "fail"


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False),
        ((3, 45, 0), True), ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 0), True), ((3, 51, 2), True),
        ((3, 51, 3), False), ((3, 52, 0), False), ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_builds_with_the_wal_reset_bug_are_known(version: tuple[int, ...], affected: bool) -> None:
    assert has_wal_reset_bug(version) is affected
    if version >= machine.OLDEST_SQLITE:
        assert machine.sqlite(version).level is (Level.NOTE if affected else Level.OK)


def test_what_is_too_old_is_a_failure() -> None:
    assert machine.sqlite((3, 36, 0)).level is Level.FAIL
    assert machine.python((3, 10, 9)).level is Level.FAIL


def test_a_network_filesystem_is_a_failure(
    bare: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convoq.db.files.filesystem", lambda _: "nfs4")
    bare.configure(whole())

    assert findings(bare, capsys, code=1)["filesystem"]["level"] == "fail"
