"""`convoq contacts export`: all that there is of a person, in one file to give to them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.erasing import number
from convoq.errors import ConvoqError
from convoq.text import counted


def add_parser(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="all that there is of this person, as one file",
        description="Writes all that convoq has of a person into one JSON file that only you may read: what they\n"
        "wrote and were answered, drafts, notes of your people, what was done, what it cost, and jobs that\n"
        "name them. docs/privacy.md has the schema.",
        epilog="example:\n  convoq contacts export '+1 555 123-0001' ana.json",
    )
    parser.add_argument("number", type=number, metavar="NUMBER", help="with its country code, however it is spelled")
    parser.add_argument("file", type=Path, metavar="FILE", help='a new file; "-" is standard output')
    add_identity(parser)
    parser.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    to_stdout = str(args.file) == "-"

    async def act(ways: Ways) -> dict[str, Any]:
        from convoq.operating.people import export as collect

        document = await collect(ways.database, ways.jobs, ways.acts, args.number)
        text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
        if to_stdout:
            sys.stdout.write(text)
        else:
            _write(args.file, text)
        return document

    def summary(document: dict[str, Any]) -> dict[str, Any]:
        return {"file": str(args.file), "messages": _messages(document), "jobs": len(document["jobs"])}

    def tell(document: dict[str, Any]) -> None:
        if not to_stdout:
            found = f"{counted(_messages(document), 'message')}, {counted(len(document['jobs']), 'job')}"
            print(f"{args.file}: {found}")

    if to_stdout:
        args.json = False  # it is one document already
    return run_act(args, act, summary, tell)


def _messages(document: dict[str, Any]) -> int:
    return sum(len(one["messages"]) for contact in document["contacts"] for one in contact["conversations"])


def _write(path: Path, text: str) -> None:
    """Raises ConvoqError; a file that is there stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConvoqError(f"{path} is there already: choose another name") from None
    except OSError as error:
        raise ConvoqError(f"cannot write {path}: {error.strerror or error}") from error
