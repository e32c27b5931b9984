"""`convoq jobs`: look at jobs, and retry, run, cancel or discard one, some or all."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import AsyncIterator, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from convoq.cli import problem_list
from convoq.cli.arguments import job_id, positive
from convoq.cli.selection import add_filters, given_ids, is_narrowed, job_filter
from convoq.cli.terminal.output import ProgressBar, UsageError, confirm, print_json, print_raw, say
from convoq.errors import ConvoqError
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.queue.base import JobAdmin
    from convoq.queue.selecting import JobSelection
    from convoq.settings import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A change that jobs can be put through."""

    name: str
    past: str
    states: tuple[str, ...]  #: that it can be applied in
    default_states: tuple[str, ...]  #: meant where neither ids nor --state are given
    standings: tuple[str, ...] = ()  #: narrower than the states
    named_standings: tuple[str, ...]  #: of a job that is given by its id
    applies_to: str
    help: str
    description: str


VERBS: Final = {
    verb.name: verb
    for verb in (
        Verb(
            name="retry",
            past="retried",
            states=("dead", "cancelled"),
            default_states=("dead",),
            named_standings=("dead", "cancelled"),
            applies_to="dead and cancelled jobs",
            help="make dead jobs ready again",
            description="Makes dead and cancelled jobs ready again, in their old place, with fresh attempts.\n"
            "Filters and --all mean the dead letters unless --state says otherwise.",
        ),
        Verb(
            name="run-now",
            past="due now",
            states=("ready",),
            default_states=("ready",),
            standings=("scheduled",),
            named_standings=("scheduled", "running"),
            applies_to="jobs that wait for their time",
            help="let waiting jobs run at once",
            description="Makes jobs due that wait for their time: a delay, the pause before another try, a snooze.\n"
            "Jobs ahead of them with the same ordering key run first. Attempts stay as they are.\n"
            "One that runs, named by its id, is due again at once if it then means to wait.",
        ),
        Verb(
            name="cancel",
            past="cancelled",
            states=("ready",),
            default_states=("ready",),
            named_standings=("ready", "scheduled"),
            applies_to="waiting jobs that nobody runs",
            help="take waiting jobs out of the queue",
            description="Cancels jobs that wait; running ones are left alone. `jobs retry` brings them back.",
        ),
        Verb(
            name="discard",
            past="discarded",
            states=("done", "dead", "cancelled"),
            default_states=("dead",),
            named_standings=("done", "dead", "cancelled"),
            applies_to="done, dead and cancelled jobs",
            help="delete jobs for good",
            description="Deletes jobs that are over. Filters and --all mean the dead letters unless --state says"
            " otherwise.",
        ),
    )
}


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "jobs",
        help="list, show, retry, run, cancel and discard jobs",
        description="Jobs in the queue and what became of them.",
        epilog="example:\n  convoq jobs retry --kind process_ai_response --dry-run",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_list(commands)
    _add_show(commands)
    problem_list.add_parser(commands)
    for verb in VERBS.values():
        _add_verb(commands, verb)


def _add_list(commands: Any) -> None:
    listing = commands.add_parser(
        "list",
        help="newest first",
        description="Lists jobs, newest first. Phone numbers are masked unless --full is given.",
        epilog="example:\n  convoq jobs list --state dead --limit 20",
    )
    add_filters(listing, ("ready", "scheduled", "running", "done", "dead", "cancelled"))
    listing.add_argument("--limit", type=positive, default=50, metavar="N", help="at most N (default: %(default)s)")
    listing.add_argument("--before", type=job_id, metavar="ID", help="the page before this job")
    listing.add_argument("--full", action="store_true", help="phone numbers in full")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_jobs)


def _add_show(commands: Any) -> None:
    showing = commands.add_parser(
        "show",
        help="all about some jobs",
        description="Shows jobs with payload, error and where they stand. Phone numbers are shown in full.",
        epilog="example:\n  convoq jobs show 42 --raw | jq .form",
    )
    showing.add_argument("ids", nargs="+", type=job_id, metavar="ID")
    showing.add_argument(
        "--raw",
        action="store_true",
        help="print the payloads as stored, a line each (a terminal gets control characters escaped)",
    )
    showing.add_argument("--json", action="store_true", help="for programs")
    showing.set_defaults(run=show_jobs)


def _add_verb(commands: Any, verb: Verb) -> None:
    parser = commands.add_parser(
        verb.name,
        help=verb.help,
        description=verb.description,
        epilog=f"examples:\n  convoq jobs {verb.name} 42 43\n  convoq jobs {verb.name} --kind send_message --dry-run",
    )
    parser.add_argument("ids", nargs="*", type=job_id, metavar="ID", help="these jobs, without being asked")
    add_filters(parser, verb.states if len(verb.states) > 1 else ())
    parser.add_argument(
        "--all", action="store_true", help=f"all: {', '.join(verb.standings or verb.default_states)} jobs"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="don't ask")
    parser.add_argument("--dry-run", action="store_true", help="only say how many")
    parser.set_defaults(run=change_jobs, verb=verb)


def list_jobs(args: argparse.Namespace) -> int:
    from convoq.cli.job_text import print_jobs
    from convoq.cli.session import load_settings, open_jobs, run_async
    from convoq.monitoring.documents import jobs_document
    from convoq.queue.selecting import JobSelection, newest

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, jobs):
            # One more than is shown tells whether there are more.
            chosen = JobSelection(where=job_filter(args, now=database.clock.now()), cause=args.cause)
            found = await newest(jobs, chosen, limit=args.limit + 1, before=args.before)
            records, more = found[: args.limit], len(found) > args.limit
            if args.json:
                print_json(jobs_document(records, more=more, full=args.full))
                return 0
            print_jobs(records, now=database.clock.now(), full=args.full)
            if more:
                say(f"There are more: convoq jobs list --before {records[-1].id}")
            return 0

    return run_async(main(load_settings(args.config).options))


def show_jobs(args: argparse.Namespace) -> int:
    from convoq.cli.job_text import print_job
    from convoq.cli.session import load_settings, open_jobs, run_async
    from convoq.monitoring.documents import jobs_in_full

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, jobs):
            found = [(job, await jobs.get(job)) for job in dict.fromkeys(args.ids)]
            records = [record for _, record in found if record is not None]
            if args.json:
                print_json(jobs_in_full(records))
            elif args.raw:
                for record in records:
                    print_raw(record.payload)
            else:
                for index, record in enumerate(records):
                    print_job(record, now=database.clock.now(), apart=index > 0)
        _complain(f"there is no job {job}" for job, record in found if record is None)
        return 0

    return run_async(main(load_settings(args.config).options))


def change_jobs(args: argparse.Namespace) -> int:
    """Retries, lets run at once, cancels or discards."""
    from convoq.cli.session import load_settings, open_jobs, run_async
    from convoq.queue.base import Standing
    from convoq.queue.selecting import JobSelection, count

    verb: Verb = args.verb
    if not (is_narrowed(args) or args.all):
        raise UsageError(f"say which jobs: ids, a filter such as --kind, or --all (convoq jobs {verb.name} -h)")
    ids = given_ids(args)
    states = verb.states if ids else verb.default_states

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, jobs):
            where = job_filter(args, now=database.clock.now(), states=states)
            if verb.standings:
                standings = verb.named_standings if ids else verb.standings
                where = replace(where, standings=tuple(map(Standing, standings)))
            chosen = JobSelection(where=where, cause=args.cause)
            useless = await _useless(jobs, database, chosen) if verb.name == "retry" else {}
            number = await count(jobs, chosen) - len(useless)
            if not ids:
                for why, times in Counter(useless.values()).items():
                    say(f"{counted(times, 'job')} left alone: {why}")
            if args.dry_run:
                print(f"{counted(number, 'job')} would be {verb.past}")
                return 0
            if not ids and (
                not number or not confirm(f"{verb.name.capitalize()} {counted(number, 'job')}?", yes=args.yes)
            ):
                say("Nothing to do." if not number else "Nothing was done.")
                return 0 if not number else 1
            complaints = [line async for line in _unfit(verb, jobs, ids)]
            changed = await _apply(verb, jobs, chosen, number, useless)
            print(f"{counted(changed, 'job')} {verb.past}")
            if ids:
                complaints += (f"job {job} is not {verb.past}: {why}" for job, why in useless.items())
            _complain(complaints)
            if changed < number:
                say(f"{counted(number - changed, 'job')} left alone: running, or no longer in that state")
            return 0

    return run_async(main(load_settings(args.config).options))


async def _useless(jobs: JobAdmin, database: Store, chosen: JobSelection) -> dict[str, str]:
    """Why, by job, its retry would say and send nothing."""
    from convoq.conversations.queries import Reading
    from convoq.queue.selecting import pages

    useless: dict[str, str] = {}
    async for page in pages(jobs, chosen):
        found = [(record.id, record.kind, record.payload) for record in page]
        useless |= await Reading(database).useless_retries(found)
    return useless


async def _apply(verb: Verb, jobs: JobAdmin, chosen: JobSelection, count: int, left_alone: Container[str]) -> int:
    """Each job once, even if it is back in the same state meanwhile."""
    from convoq.queue.selecting import JobAct, all_ids, batches, change

    progress, changed, looked = ProgressBar(verb.past, count), 0, 0
    for batch in batches(await all_ids(jobs, chosen), left_alone):
        changed += await change(jobs, JobAct(verb.name), chosen, batch)
        looked += len(batch)
        progress.show(looked)
    progress.end()
    return changed


async def _unfit(verb: Verb, jobs: JobAdmin, ids: Sequence[str]) -> AsyncIterator[str]:
    """A line for each named job that the verb does not apply to: why."""
    for job in ids:
        record = await jobs.get(job)
        if record is None:
            yield f"there is no job {job}"
        elif record.standing not in verb.named_standings:
            yield f"job {job} is {record.standing}: {verb.name} is for {verb.applies_to}"


def _complain(lines: Iterable[str]) -> None:
    """Raises ConvoqError if there is a line."""
    if text := "\n".join(lines):
        raise ConvoqError(text)
