"""`convoq version`."""

from __future__ import annotations

import argparse
from typing import Any

from convoq import __version__


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "version",
        help="print the version",
        description="Prints the version.",
        epilog="example:\n  convoq version --json",
    )
    parser.add_argument("--json", action="store_true", help="for programs, with Python's and SQLite's versions")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.json:
        print(f"convoq {__version__}")
        return 0
    from convoq.cli.terminal.output import print_json
    from convoq.monitoring.documents import version_document

    print_json(version_document())
    return 0
