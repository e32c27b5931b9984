"""Whether each of the three roles runs, judged by the processes that were seen."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from convoq.monitoring.processes import ProcessRecord

Role = Literal["serve", "schedule", "work", "console"]
ROLES: Final[tuple[Role, ...]] = ("serve", "schedule", "work")  #: without which people are not answered
SILENT_AFTER_SECONDS: Final = 30.0  # a process announces itself every ten


class RoleState(enum.StrEnum):
    """The best that can be said of a role's processes."""

    RUNNING = "running"
    SILENT = "silent"  #: none was seen within SILENT_AFTER_SECONDS
    GONE = "gone"  #: all were killed or crashed
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleHealth:
    """A role at one moment."""

    role: str
    state: RoleState
    running: int = 0  #: processes that were seen within SILENT_AFTER_SECONDS
    silence: float = 0.0  #: seconds since the latest sign of life, where a process is not gone
    last_pid: int | None = None  #: of the process that was started last


def judge_role(role: str, processes: Sequence[ProcessRecord], *, now: int) -> RoleHealth:
    """`processes` are those of every role, oldest first; `now` is ms on the queue's clock."""
    own = [process for process in processes if process.role == role]
    if not own:
        return RoleHealth(role=role, state=RoleState.UNSEEN)
    silences = [process.silence(now) for process in own if not process.gone]
    if not silences:
        return RoleHealth(role=role, state=RoleState.GONE, last_pid=own[-1].pid)
    running = sum(silence <= SILENT_AFTER_SECONDS for silence in silences)
    return RoleHealth(
        role=role,
        state=RoleState.RUNNING if running else RoleState.SILENT,
        running=running,
        silence=min(silences),
        last_pid=own[-1].pid,
    )
