"""`convoq db`: migrate the database, check it, back it up while it is in use, move it to a server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convoq.cli.terminal.output import print_json, say
from convoq.errors import ConvoqError
from convoq.text import counted, size

if TYPE_CHECKING:
    from convoq.settings import Options


#: What convoq would copy row by row, it copies as a whole, with what is needed to restore it.
USE_PG_DUMP: Final = (
    "is on a server, whose own pg_dump makes a consistent copy beside the running roles: "
    'pg_dump --format=custom --file=convoq.dump "the same URL"'
)


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "db",
        help="migrate, check, back up and move the database",
        description="The file, or the PostgreSQL database, that holds the queue and the conversations.",
        epilog="example:\n  convoq db backup /var/backups/convoq.db",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_migrate(commands)
    _add_check(commands)
    _add_backup(commands)
    _add_copy(commands)


def _add_migrate(commands: Any) -> None:
    migrating = commands.add_parser(
        "migrate",
        help="create the database, or bring it up to this version",
        description="Creates the database, or brings it up to this version of convoq. The roles do the same when they\n"
        "start, but create none where there was one before. Forward only: make a backup first.",
        epilog="example:\n  convoq db migrate",
    )
    migrating.set_defaults(run=migrate)


def _add_check(commands: Any) -> None:
    checking = commands.add_parser(
        "check",
        help="look whether the file is sound and nothing in it is stuck",
        description="Checks the whole file (page by page), its references, and that each job and each message that\n"
        "waits can still be reached; of a PostgreSQL database only the latter. Ends with 1 when something is\n"
        "wrong. Safe beside running roles.",
        epilog="example:\n  convoq db check",
    )
    checking.add_argument("--json", action="store_true", help="for programs")
    checking.set_defaults(run=check)


def _add_backup(commands: Any) -> None:
    copying = commands.add_parser(
        "backup",
        help="make a consistent copy beside the running roles",
        description="Copies the file while it is in use. The copy is one file, mode 0600, checked before it gets its\n"
        "name; nothing is overwritten. Into a directory it is named after the time. Prints its path.\n"
        "What is on a PostgreSQL server is copied by its pg_dump.",
        epilog="example:\n  convoq db backup /var/backups/",
    )
    copying.add_argument("path", metavar="PATH", help="the copy, or a directory for it")
    copying.add_argument("--json", action="store_true", help="for programs")
    copying.set_defaults(run=backup)


def _add_copy(commands: Any) -> None:
    copying = commands.add_parser(
        "copy",
        help="move all that is in a file to PostgreSQL",
        description="Copies the conversations and the queue of a file into an empty PostgreSQL database, whose roles\n"
        "then answer what waits. No role may run on the file. All or nothing: interrupted, it is run again.\n"
        "The password is database.password.",
        epilog="example:\n  convoq db copy /var/lib/convoq/convoq.db postgresql://convoq@db.internal/convoq",
    )
    copying.add_argument("source", metavar="FILE", type=Path, help="the database file")
    copying.add_argument("target", metavar="URL", help="the PostgreSQL database")
    copying.set_defaults(run=copy)


def migrate(args: argparse.Namespace) -> int:
    from convoq.cli.session import create_or_migrate, load_settings
    from convoq.db import OpenMode
    from convoq.db.opening import location_of

    settings = load_settings(args.config).options.database
    before, now = create_or_migrate(settings, OpenMode.CREATE)
    change = " already" if before >= now else f", was {before}" if before else ", new"
    print(f"{location_of(settings)}: schema {max(before, now)}{change}")
    return 0


def check(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.db.opening import location_of
    from convoq.monitoring.audit import find_flaws
    from convoq.monitoring.documents import audit_document

    async def main(options: Options) -> list[str]:
        async with open_existing(options) as database:
            return await find_flaws(database, holds_queue=options.queue.engine == "database")

    options = load_settings(args.config).options
    location = location_of(options.database)
    findings = run_async(main(options))
    if args.json:
        print_json(audit_document(location, findings))
        return 1 if findings else 0
    if findings:
        raise ConvoqError("\n".join(f"{location}: {finding}" for finding in findings))
    print(f"{location}: sound")
    return 0


def backup(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.db import Database
    from convoq.db.backup import back_up
    from convoq.monitoring.documents import backup_document
    from convoq.monitoring.processes import Processes

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            if not isinstance(database, Database):
                raise ConvoqError(f"{database.location}: {USE_PG_DUMP}")
            made = await back_up(database, _place(args.path))
            writing = await Processes(database).running()
        if args.json:
            print_json(backup_document(made, writing))
            return 0
        print(made.path)
        say(
            f"{size(made.bytes)}, {counted(made.rows['jobs'], 'job')}, "
            f"{counted(made.rows['messages'], 'message')}; checked"
        )
        if writing:
            # Harmless for a backup; a machine that goes on with this copy would answer what these answer too.
            names = ", ".join(f"{process.role} (pid {process.pid} on {process.host})" for process in writing)
            say(f"still writing to the database: {names}. What they do from now on is not in the copy")
        return 0

    return run_async(main(load_settings(args.config).options))


def copy(args: argparse.Namespace) -> int:
    from convoq import logs
    from convoq.cli.session import run_async
    from convoq.settings.load import load

    options = load(args.config, overrides={"database.url": args.target}).options
    logs.configure("warning", "auto")
    copied = run_async(_copy(args.source, options))
    print(", ".join(f"{count} {name}" for name, count in copied.items() if count) or "no rows: the file was empty")
    say(
        f"checked, and in {args.target} now. Give that as database.url, start the roles there, and put {args.source} "
        "away: roles on it would answer the same people again"
    )
    return 0


async def _copy(path: Path, options: Options) -> dict[str, int]:
    from convoq.cli.session import open_existing
    from convoq.cli.terminal.output import ProgressBar
    from convoq.db import Database, OpenMode
    from convoq.db.opening import open_store, require_free
    from convoq.db.postgres.store import PostgresDatabase
    from convoq.monitoring.processes import Processes
    from convoq.queue.postgres.copying import copy_database, count_rows

    of_file = options.database.model_copy(update={"path": path, "url": None})
    async with open_existing(options.model_copy(update={"database": of_file})) as source:
        if running := await Processes(source).running():
            names = ", ".join(f"{one.role} (pid {one.pid} on {one.host})" for one in running)
            raise ConvoqError(f"{path}: {names} runs on it: stop all roles first, so that nothing is written meanwhile")
        await require_free(options.database)
        async with open_store(options.database, mode=OpenMode.CREATE) as target:
            if not isinstance(source, Database) or not isinstance(target, PostgresDatabase):
                raise TypeError(f"{source.location}, {target.location}")  # the settings above say what they are
            progress = ProgressBar("copied", await count_rows(source, target))
            done = 0

            def advance(rows: int) -> None:
                nonlocal done
                done += rows
                progress.show(done)

            try:
                return await copy_database(source, target, advance)
            finally:
                progress.end()


def _place(text: str) -> Path:
    """Raises ConvoqError for a directory that is not there: the copy would become a file of its name."""
    path = Path(text)
    if text.endswith("/") and not path.is_dir():
        raise ConvoqError(f"{text}: there is no such directory: create it first")
    return path
