"""The JSON documents of what runs when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convoq.text import iso_time

if TYPE_CHECKING:
    from datetime import datetime

    from convoq.monitoring.pauses import Pause
    from convoq.scheduler.entries import ScheduleEntry


def schedules_document(
    entries: Iterable[tuple[ScheduleEntry, Sequence[datetime]]], pauses: Mapping[str, Pause]
) -> dict[str, Any]:
    """Each entry with its next runs: none while it is paused."""
    return {"schedules": [_schedule_document(entry, runs, pauses.get(entry.name)) for entry, runs in entries]}


def pause_document(pause: Pause) -> dict[str, Any]:
    return {"paused_at": iso_time(pause.paused_at), "reason": pause.reason}


def _schedule_document(entry: ScheduleEntry, runs: Sequence[datetime], pause: Pause | None) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "every_seconds": entry.every,
        "cron": entry.cron,
        "timezone": entry.timezone,
        "missed": entry.missed,
        "overlap": entry.overlap,
        "paused": None if pause is None else pause_document(pause),
        "next": [moment.isoformat() for moment in runs],
    }
