"""The command line: one small function per subcommand, each importing what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from convoq.errors import ConvoqError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns its exit code. Whatever goes wrong is one line a problem, never a traceback."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except ConvoqError as error:
        for line in str(error).splitlines():
            print(f"convoq: {line}", file=sys.stderr)
        return error.exit_code


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convoq")
    parser.add_argument("--config", type=Path)
    commands = parser.add_subparsers(required=True)
    for role in ("serve", "schedule", "work"):
        command = commands.add_parser(role)
        command.set_defaults(run=run_role, role=role)
        if role == "work":
            command.add_argument("--concurrency", type=int)
            command.add_argument("--drain", action="store_true")
    return parser


def run_role(args: argparse.Namespace) -> int:
    from convoq import logs
    from convoq.daemon import roles
    from convoq.settings.load import load
    from convoq.settings.roles import require

    overrides = {"work.concurrency": getattr(args, "concurrency", None)}
    loaded = load(args.config, overrides=overrides)
    require(loaded.options, args.role)
    logs.configure(loaded.options.log.level, loaded.options.log.format, args.role)
    role = roles.work(drain=args.drain) if args.role == "work" else getattr(roles, args.role)
    roles.run(role, loaded)
    return 0
