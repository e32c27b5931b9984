"""Which jobs a command means: ids and filters, as arguments and as the queue's filter."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from convoq.cli.arguments import SINCE, job_id, moment
from convoq.cli.terminal.output import UsageError

if TYPE_CHECKING:
    from convoq.queue.base import JobFilter

MOST_IDS: Final = 1000  # that one command takes: one SQL variable each, of 32766 that SQLite allows


def add_filters(parser: argparse.ArgumentParser, states: Sequence[str]) -> None:
    """The options that choose jobs. Each may be given several times, except --lane, --text and --since."""
    group = parser.add_argument_group("which jobs (every given condition holds)")
    group.add_argument("--id", action="append", type=job_id, metavar="ID", dest="more_ids", help="this job")
    if states:
        group.add_argument("--state", action="append", choices=states, help="in this state")
    group.add_argument("--since", type=moment, metavar="WHEN", help=SINCE)
    group.add_argument("--kind", action="append", metavar="KIND", help="of this kind, e.g. process_ai_response")
    group.add_argument("--lane", metavar="KEY", help="with this ordering key")
    group.add_argument("--text", metavar="TEXT", help="with this text in the payload or the error")
    group.add_argument("--cause", metavar="CAUSE", help="of this cause, as `convoq jobs problems` has it")


def given_ids(args: argparse.Namespace) -> tuple[str, ...]:
    """The ids of the command line, once each."""
    ids = tuple(dict.fromkeys([*getattr(args, "ids", ()), *(args.more_ids or ())]))
    if len(ids) > MOST_IDS:
        raise UsageError(f"at most {MOST_IDS} ids at a time")
    return ids


def is_narrowed(args: argparse.Namespace) -> bool:
    """Whether anything at all chooses among the jobs."""
    wanted = (given_ids(args), getattr(args, "state", None), args.kind, args.lane, args.text, args.since, args.cause)
    return any(value is not None and value != () for value in wanted)


def job_filter(args: argparse.Namespace, *, now: int, states: Sequence[str] | None = None) -> JobFilter:
    """`states` are meant where the arguments name none; `now` is ms on the queue's clock."""
    from convoq.operating import jobs
    from convoq.queue.base import JobState, Standing

    return jobs.job_filter(
        ids=given_ids(args),
        standings=tuple(map(Standing, getattr(args, "state", None) or ())),
        states=tuple(map(JobState, states or ())),
        kinds=args.kind or (),
        lane=args.lane,
        text=args.text,
        since=None if args.since is None else args.since(now),
    )
