"""`convoq schedules`: what is enqueued when, an entry's run by hand, and its pause."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import one_line, positive
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import age, local_time

if TYPE_CHECKING:
    from convoq.clock import Clock
    from convoq.db.store import Store
    from convoq.monitoring.pauses import Pause
    from convoq.queue.base import Enqueued, JobAdmin
    from convoq.scheduler.entries import ScheduleEntry
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "schedules",
        help="what runs when; run, pause and resume it",
        description="convoq's own upkeep and your [[schedules]].",
        epilog="example:\n  convoq schedules next morning-greeting --count 5",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_list(commands)
    _add_next(commands)
    _add_run(commands)
    _add_pause(commands)


def _add_list(commands: Any) -> None:
    listing = commands.add_parser(
        "list",
        help="every entry, with its next run",
        description="Lists every entry of the schedule.",
        epilog="example:\n  convoq schedules list --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_entries)


def _add_next(commands: Any) -> None:
    following = commands.add_parser(
        "next",
        help="the next runs",
        description="Prints when entries run next: by the clock that counts (the zone of a cron, this machine's for\n"
        "every) and in UTC. Days on which the clocks change included.",
        epilog="example:\n  convoq schedules next morning-greeting --count 5",
    )
    following.add_argument("name", nargs="?", metavar="NAME", help="of one entry (default: all)")
    following.add_argument("--count", type=positive, default=3, metavar="N", help="how many (default: %(default)s)")
    following.add_argument("--json", action="store_true", help="for programs")
    following.set_defaults(run=next_runs)


def _add_run(commands: Any) -> None:
    running = commands.add_parser(
        "run",
        help="enqueue one run now",
        description="Enqueues a run of an entry at once, also of one that is paused, and prints the job's id. It has\n"
        "its place among the entry's other runs: where one waits already, that one is due now.",
        epilog="example:\n  convoq schedules run morning-greeting",
    )
    running.add_argument("name", metavar="NAME", help="the entry")
    running.set_defaults(run=run_entry)


def _add_pause(commands: Any) -> None:
    pausing = commands.add_parser(
        "pause",
        help="enqueue nothing of an entry until it is resumed",
        description="Pauses an entry: nothing of it is enqueued on time until it is resumed, whatever is restarted\n"
        "meanwhile. A run that waits or goes on already is left alone.",
        epilog="example:\n  convoq schedules pause morning-greeting --reason 'closed in August'",
    )
    pausing.add_argument("name", metavar="NAME", help="the entry")
    pausing.add_argument("--reason", type=one_line, metavar="TEXT", help="shown in `status` and `schedules list`")
    pausing.set_defaults(run=pause)
    resuming = commands.add_parser(
        "resume",
        help="let a paused entry run again",
        description="Ends a pause: the entry runs at its next time. What passed meanwhile is not made up for.",
        epilog="example:\n  convoq schedules resume morning-greeting",
    )
    resuming.add_argument("name", metavar="NAME", help="the entry")
    resuming.set_defaults(run=resume)


# --- Looking


def list_entries(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, run_async
    from convoq.monitoring.schedule_documents import schedules_document
    from convoq.operating.schedules import coming_runs

    entries, clock, pauses = run_async(_read(load_settings(args.config).options))
    runs = {entry.name: coming_runs(entry, 1, clock, pauses) for entry in entries}
    if args.json:
        print_json(schedules_document(((entry, runs[entry.name]) for entry in entries), pauses))
        return 0
    rows = [(*_described(entry), *_first(entry, runs[entry.name], pauses)) for entry in entries]
    print_table(("NAME", "WHEN", "KIND", "MISSED", "NEXT", "IN"), rows, right=("IN",), whole=("NAME", "NEXT"))
    _say_pauses(entries, pauses)
    for name in sorted(pauses.keys() - {entry.name for entry in entries}):
        say(f"{name} is paused, and in no settings: convoq schedules resume {name}")
    return 0


def next_runs(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, run_async
    from convoq.monitoring.schedule_documents import schedules_document
    from convoq.operating.schedules import coming_runs, find_entry

    entries, clock, pauses = run_async(_read(load_settings(args.config).options))
    chosen = entries if args.name is None else [find_entry(args.name, entries)]
    runs = {entry.name: coming_runs(entry, args.count, clock, pauses) for entry in chosen}
    if args.json:
        print_json(schedules_document(((entry, runs[entry.name]) for entry in chosen), pauses))
        return 0
    rows = [row for entry in chosen for row in _following(entry, runs[entry.name], pauses)]
    print_table(("NAME", "NEXT", "UTC", "IN"), rows, right=("IN",), whole=("NEXT", "UTC"))
    _say_pauses(chosen, pauses)
    return 0


async def _read(options: Options) -> tuple[Sequence[ScheduleEntry], Clock, Mapping[str, Pause]]:
    """The entries, the queue's clock (the wall's, nearly the same, where there is no database yet), and the pauses."""
    from convoq.cli.session import open_existing
    from convoq.clock import WallClock
    from convoq.monitoring.pauses import read_pauses
    from convoq.scheduler.entries import entries_from

    entries = entries_from(options.schedules)
    if options.database.url is None and not options.database.path.exists():
        return entries, WallClock(), {}
    async with open_existing(options) as database:
        return entries, database.clock, {pause.name: pause for pause in await read_pauses(database)}


def _described(entry: ScheduleEntry) -> tuple[str, str, str, str]:
    when = f"every {age(entry.every or 0)}" if entry.cron is None else f"{entry.cron} {entry.timezone}"
    return entry.name, when, entry.kind, entry.missed


def _first(entry: ScheduleEntry, runs: Sequence[datetime], pauses: Mapping[str, Pause]) -> tuple[str, str]:
    if entry.name in pauses:
        return "paused", ""
    return (zoned(entry, runs[0]), _until(runs[0])) if runs else ("never", "")


def _following(
    entry: ScheduleEntry, runs: Sequence[datetime], pauses: Mapping[str, Pause]
) -> Iterable[tuple[str, str, str, str]]:
    if not runs:
        return [(entry.name, _first(entry, runs, pauses)[0], "", "")]
    return [(entry.name, zoned(entry, run), _in_utc(run), _until(run)) for run in runs]


def _say_pauses(entries: Iterable[ScheduleEntry], pauses: Mapping[str, Pause]) -> None:
    """Below the table: in its cell a reason would push the times out of the terminal."""
    for entry in entries:
        if (pause := pauses.get(entry.name)) is not None:
            say(f"{entry.name}: {_paused(pause)}")


def _paused(pause: Pause) -> str:
    since = f"paused since {local_time(pause.paused_at)}"
    return since if pause.reason is None else f"{since}: {pause.reason}"


def zoned(entry: ScheduleEntry, run: datetime) -> str:
    """As the clock that counts shows it: a cron's zone, this machine's for `every`."""
    local = run.astimezone() if entry.cron is None else run
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")


def _in_utc(run: datetime) -> str:
    return run.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _until(run: datetime) -> str:
    from convoq.clock import WallClock

    return age(run.timestamp() - WallClock().now() / 1000)


# --- Acting


def run_entry(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.operating.schedules import find_entry, run_once
    from convoq.queue import opening
    from convoq.queue.service import QueueService
    from convoq.scheduler.entries import entries_from

    async def main(options: Options) -> Enqueued:
        entry = find_entry(args.name, entries_from(options.schedules))
        async with open_existing(options) as database, opening.open_queue(database, options) as opened:
            return await run_once(entry, database, QueueService(opened.queue, options.queue), opened.jobs)

    enqueued = run_async(main(load_settings(args.config).options))
    print(enqueued.job_id)
    if enqueued.joined:
        say(f"A run of {args.name} waited already: job {enqueued.job_id} is that one.")
    return 0


def pause(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_jobs, run_async
    from convoq.operating.schedules import find_entry
    from convoq.scheduler.entries import entries_from
    from convoq.scheduler.progress import SqlProgress

    async def main(options: Options) -> None:
        entry = find_entry(args.name, entries_from(options.schedules))
        async with open_jobs(options) as (database, jobs):
            if await SqlProgress(database).pause(entry.name, reason=args.reason):
                print(f"{entry.name} is paused: nothing of it is enqueued until convoq schedules resume {entry.name}")
            else:
                print(f"{entry.name} was paused before: {await _standing_pause(database, entry.name)}")
            await _tell_unfinished(jobs, entry)

    run_async(main(load_settings(args.config).options))
    return 0


async def _standing_pause(database: Store, name: str) -> str:
    from convoq.monitoring.pauses import read_pauses

    return next((_paused(pause) for pause in await read_pauses(database) if pause.name == name), "just resumed")


async def _tell_unfinished(jobs: JobAdmin, entry: ScheduleEntry) -> None:
    from convoq.queue.base import JobFilter

    for job in await jobs.list(JobFilter(waiting_key=entry.waiting_key)):
        if job.running:
            say(f"Job {job.id} of it runs, and goes on.")
        else:
            say(f"Job {job.id} of it waits, and will run: convoq jobs cancel {job.id}")


def resume(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.clock import WallClock
    from convoq.monitoring.pauses import read_pauses
    from convoq.operating.schedules import coming_runs, find_entry
    from convoq.scheduler.entries import entries_from
    from convoq.scheduler.progress import SqlProgress
    from convoq.scheduler.times import Every

    async def main(options: Options) -> None:
        entries = {entry.name: entry for entry in entries_from(options.schedules)}
        async with open_existing(options) as database:
            entry = entries.get(args.name)
            if entry is None and args.name not in {pause.name for pause in await read_pauses(database)}:
                entry = find_entry(args.name, list(entries.values()))
            clock = database.clock if entry is None or isinstance(entry.times, Every) else WallClock()
            spec = None if entry is None else entry.times.spec
            if not await SqlProgress(database).resume(args.name, spec, clock.now()):
                print(f"{args.name} is not paused")
            elif entry is None:
                print(f"{args.name} is resumed. It is in no settings: nothing of it is enqueued")
            else:
                first, wait = _first(entry, coming_runs(entry, 1, database.clock, {}), {})
                print(f"{args.name} is resumed: next at {first}, in {wait}. What passed meanwhile is not made up for")

    run_async(main(load_settings(args.config).options))
    return 0
