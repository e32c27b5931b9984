"""Jobs for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from convoq.cli.terminal.output import colored
from convoq.cli.terminal.table import print_table
from convoq.jobs import COUNTED_BY_MESSAGE
from convoq.monitoring.documents import parsed, priority_name
from convoq.queue.base import JobRecord, JobState, Standing
from convoq.text import age, harmless, last_line, local_time, masked

COLORS = {"running": "green", "dead": "red", "scheduled": "yellow"}


def print_jobs(records: Sequence[JobRecord], *, now: int, full: bool) -> None:
    """One line a job."""
    header = ("ID", "KIND", "STATE", "TRIES", "AGE", "DUE", "LANE", "ERROR")
    rows = [
        (
            record.id,
            record.kind,
            record.standing,
            "" if record.kind in COUNTED_BY_MESSAGE else f"{record.attempt}/{record.max_attempts}",
            age((now - record.enqueued_at) / 1000),
            _due(record, now),
            _shown(record.ordering_key or "", full),
            _shown(f"waits: {waits}" if (waits := _waits(record)) else last_line(record.error), full),
        )
        for record in records
    ]
    print_table(header, rows, right=("ID", "TRIES", "AGE"), ends=("LANE",))


def _waits(record: JobRecord) -> str:
    """Why a job waits whose time has not come."""
    return (record.reason or "") if record.standing is Standing.SCHEDULED else ""


def _due(record: JobRecord, now: int) -> str:
    if record.standing is not Standing.SCHEDULED or record.due_at is None:
        return ""
    return f"in {age((record.due_at - now) / 1000)}"


def _shown(text: str, full: bool) -> str:
    return text if full else masked(text)


def print_job(record: JobRecord, *, now: int, apart: bool) -> None:
    """All about one job."""
    if apart:
        print()
    state = record.standing
    print(colored("bold", f"Job {record.id}: {harmless(record.kind)}"), colored(COLORS.get(state, "dim"), state))
    for name, value in _facts(record, now):
        print(f"  {name:<9} {harmless(value)}")
    print("  payload")
    for line in json.dumps(parsed(record.payload), indent=2, ensure_ascii=False).splitlines():
        print(f"    {harmless(line)}")
    if record.error:
        print("  error")
        for line in record.error.rstrip().splitlines():
            print(f"    {harmless(line)}")


def _facts(record: JobRecord, now: int) -> Iterator[tuple[str, str]]:
    def moment(at: int) -> str:
        ago = (now - at) / 1000
        return f"{local_time(at)} ({age(ago)} ago)" if ago >= 0 else f"{local_time(at)} (in {age(-ago)})"

    yield "lane", record.ordering_key or "its own"
    if record.kind not in COUNTED_BY_MESSAGE:
        yield "tries", f"{record.attempt} of {record.max_attempts}"
    yield "priority", priority_name(record.priority)
    yield "enqueued", moment(record.enqueued_at)
    if record.claimed_at is not None:
        yield "claimed", moment(record.claimed_at)
    if record.running and record.worker:
        yield "worker", record.worker
    elif record.state is JobState.READY and record.due_at is not None:
        yield "due", moment(record.due_at)
        if waits := _waits(record):
            yield "because", waits
    if record.finished_at is not None:
        yield "ended", moment(record.finished_at)
    if record.dedup_key is not None:
        yield "dedup", record.dedup_key
