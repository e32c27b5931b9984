"""`convoq enqueue`: one job by hand or from a script."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from convoq.cli.terminal.output import UsageError
from convoq.errors import ConvoqError, DatabaseUnavailable

if TYPE_CHECKING:
    from convoq.jobs import NewJob
    from convoq.settings import Options

PRIORITIES: Final = ("people", "normal", "upkeep")
LONGEST_PAYLOAD: Final = 1 << 20


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "enqueue",
        help="put a job into the queue",
        description="Enqueues one job and prints its id, or which job it is a duplicate of. When it returns, the job\n"
        "is on disk.",
        epilog='examples:\n  convoq enqueue greet.morning --payload \'{"name": "Ana"}\'\n'
        "  make-payload | convoq enqueue report.build --payload - --dedup report-2026-11-22",
    )
    parser.add_argument("kind", metavar="KIND", help="a built-in kind or one of [handlers]")
    parser.add_argument("--payload", default="{}", metavar="JSON", help="a JSON object, @FILE, or - for standard input")
    parser.add_argument("--key", metavar="KEY", help="ordering key: jobs that share it run one at a time, in order")
    parser.add_argument("--dedup", metavar="KEY", help="enqueue nothing if this key was used in the last 30 days")
    parser.add_argument("--delay", type=_delay, default=0.0, metavar="SECONDS", help="not before so many seconds")
    parser.add_argument("--priority", choices=PRIORITIES, default="normal", help="default: %(default)s")
    parser.add_argument("--max-attempts", type=_attempts, metavar="N", help="starts before it is dead: 1 to 100")
    parser.add_argument("--force", action="store_true", help="also a kind that no handler is configured for")
    parser.set_defaults(run=run)


def _delay(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 366 * 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 366 days")
    return seconds


def _attempts(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100")
    return number


def run(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_queue, run_async

    payload = read_payload(args.payload)
    options = load_settings(args.config).options
    if not args.force:
        _refuse_unknown(args.kind, options)
    job = _job(args, payload)

    async def main() -> int:
        async with open_queue(options) as (database, queue):
            if not database.accepts():
                raise DatabaseUnavailable("the disk is nearly full: free some space first")
            result = await queue.enqueue(job)
        print(f"duplicate of {result.job_id}" if result.duplicate else result.job_id)
        return 0

    return run_async(main())


def read_payload(given: str) -> dict[str, Any]:
    """The object in the argument, in the file behind an @, or on standard input. Raises UsageError."""
    if given == "-":
        place, text = "standard input", _decoded("standard input", sys.stdin.buffer.read(LONGEST_PAYLOAD + 1))
    elif given.startswith("@"):
        place, text = given[1:], _decoded(given[1:], _read(Path(given[1:])))
    else:
        place, text = "--payload", given
    if len(text) > LONGEST_PAYLOAD:
        raise UsageError(f"{place}: more than {LONGEST_PAYLOAD >> 20} MB: keep large data elsewhere and its place here")
    try:
        payload = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(payload, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{place}: not JSON: {error.msg} ({where})") from error
    except UnicodeEncodeError as error:
        raise UsageError(f"{place}: not valid Unicode") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise UsageError(f'{place}: must be a JSON object, such as {{"name": "Ana"}}')
    return payload


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_PAYLOAD + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConvoqError(f"cannot read {path}: {reason}") from error


def _decoded(place: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{place}: not UTF-8 text (byte {error.start + 1})") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_unknown(kind: str, options: Options) -> None:
    from convoq.jobs import BUILT_IN

    known = [*BUILT_IN, *options.handlers]
    if kind not in known:
        meant = difflib.get_close_matches(kind, known, n=1)
        hint = f" Did you mean {meant[0]!r}?" if meant else " Name it in [handlers], or use --force."
        raise UsageError(f"no handler of the kind {kind!r}.{hint}")


def _job(args: argparse.Namespace, payload: dict[str, Any]) -> NewJob:
    from pydantic import ValidationError

    from convoq.jobs import NORMAL, PEOPLE, UPKEEP, raw_job

    for name, value in (("KIND", args.kind), ("--key", args.key), ("--dedup", args.dedup)):
        if value is not None and (not value.isprintable() or not value):
            raise UsageError(f"{name}: must be plain text and not empty")
    try:
        return raw_job(
            args.kind,
            payload,
            ordering_key=args.key,
            dedup_key=args.dedup,
            delay=args.delay,
            priority=dict(zip(PRIORITIES, (PEOPLE, NORMAL, UPKEEP), strict=True))[args.priority],
            max_attempts=args.max_attempts,
        )
    except ValidationError as error:
        faults = [
            f"the payload does not suit {args.kind}: {'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise UsageError("\n".join(faults)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
