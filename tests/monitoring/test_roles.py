"""What is said of a role, from the processes that were seen."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.monitoring.processes import ProcessRecord
from convoq.monitoring.roles import RoleHealth, RoleState, judge_role

NOW = 1_000_000


def process(*, silence: float = 1.0, **more: Any) -> ProcessRecord:
    """Of the worker, seen `silence` seconds ago."""
    fields: dict[str, Any] = {"id": "w", "role": "work", "host": "h", "pid": 7, "version": "1", "status": "fine"}
    return ProcessRecord(**{**fields, "started_at": 0, "seen_at": NOW - int(silence * 1000), **more})


@pytest.mark.parametrize(
    ("processes", "state", "running", "silence"),
    [
        ([], RoleState.UNSEEN, 0, 0.0),
        ([process(role="serve")], RoleState.UNSEEN, 0, 0.0),
        ([process(gone=True)], RoleState.GONE, 0, 0.0),
        ([process(silence=31)], RoleState.SILENT, 0, 31.0),
        ([process(silence=45), process(silence=31)], RoleState.SILENT, 0, 31.0),
        ([process(silence=30)], RoleState.RUNNING, 1, 30.0),
        ([process(silence=45), process(silence=2)], RoleState.RUNNING, 1, 2.0),
        ([process(), process(silence=2)], RoleState.RUNNING, 2, 1.0),
        ([process(gone=True), process(silence=2)], RoleState.RUNNING, 1, 2.0),
        ([process(gone=True), process(silence=45)], RoleState.SILENT, 0, 45.0),
        ([process(silence=-5)], RoleState.RUNNING, 1, 0.0),
    ],
)
def test_the_best_process_speaks_for_its_role(
    processes: list[ProcessRecord], state: RoleState, running: int, silence: float
) -> None:
    health = judge_role("work", processes, now=NOW)

    assert (health.state, health.running, health.silence) == (state, running, silence)


def test_of_a_role_that_is_gone_the_last_process_is_named() -> None:
    health = judge_role("work", [process(pid=7, gone=True), process(pid=8, gone=True)], now=NOW)

    assert health == RoleHealth(role="work", state=RoleState.GONE, last_pid=8)
