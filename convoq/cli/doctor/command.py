"""`convoq doctor`: looks for everything that may be wrong, and says what to do about it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoq.cli.doctor.units import UNIT_DIRECTORIES, doctor_command
from convoq.cli.terminal.output import colored, print_json
from convoq.monitoring.documents import doctor_document
from convoq.monitoring.findings import Finding, Level, note
from convoq.text import counted, harmless

if TYPE_CHECKING:
    from convoq.cli.doctor.services import Asked
    from convoq.settings.load import Loaded

COLORS = {Level.OK: "green", Level.NOTE: "dim", Level.WARN: "yellow", Level.FAIL: "red"}


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="look for everything that may be wrong, and say what to do",
        description="Checks the settings, this machine, the database, the way from Twilio to here, the Twilio account\n"
        "and the model (one tiny request), a line each, and says what to do. Ends with 1 when a check\n"
        "failed. It changes nothing, and sends nobody a message.",
        epilog="examples:\n  convoq doctor\n  sudo -u convoq convoq doctor --offline",
    )
    parser.add_argument("--offline", action="store_true", help="ask neither Twilio nor the model nor the public URL")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq import logs
    from convoq.cli.session import run_async

    # What the checked parts log would stand between the findings, which say it better.
    logs.configure("error", "auto")
    return run_async(_run(args))


async def _run(args: argparse.Namespace) -> int:
    findings: list[Finding] = []
    async for finding in examine(args.config, offline=args.offline):
        findings.append(finding)
        if not args.json:
            _print(finding)
    failed = sum(finding.level is Level.FAIL for finding in findings)
    warned = sum(finding.level is Level.WARN for finding in findings)
    if args.json:
        print_json(doctor_document(findings))
    else:
        print(f"\n{counted(failed, 'failure')}, {counted(warned, 'warning')}")
    return 1 if failed else 0


async def examine(
    config: Path | None, *, offline: bool, unit_directories: Sequence[Path] = UNIT_DIRECTORIES
) -> AsyncIterator[Finding]:
    """Every check, in the same order; one that cannot be made for lack of settings is said to be left out."""
    from convoq.cli.doctor import machine, services, settings

    loaded, findings = settings.examine(config)
    for finding in findings:
        yield finding
    for finding in machine.software():
        yield finding
    if loaded is None:
        yield note("other checks", "left out until the settings can be read")
        return
    async with services.asking(loaded, offline=offline) as asked:
        async for finding in _inside(loaded, asked, offline=offline, unit_directories=unit_directories):
            yield finding


async def _inside(
    loaded: Loaded, asked: Sequence[Asked], *, offline: bool, unit_directories: Sequence[Path]
) -> AsyncIterator[Finding]:
    """What this machine and its database tell, and then what was asked outside meanwhile."""
    from convoq.cli.doctor import budgets, database, kept, machine, notify, server, services, settings

    seen: set[str] = set()
    if loaded.options.database.url is None:
        for finding in machine.disk(loaded.options):
            yield finding
        async for finding in database.examine(loaded.options, seen):
            yield finding
    else:
        async for finding in server.examine(loaded.options, seen):
            yield finding
    # In a thread, as the worker does it: a user's module may call asyncio.run while it is imported.
    unmet = await asyncio.to_thread(settings.unmet_needs, loaded, seen)
    as_unit = doctor_command(loaded, unit_directories)
    for finding in settings.needs(unmet, seen, has_unit=as_unit is not None):
        yield finding
    for finding in settings.prompts(loaded):
        yield finding
    for finding in chain(
        budgets.settings(loaded.options), kept.settings(loaded.options), notify.settings(loaded.options)
    ):
        yield finding
    secrets = [missing for missing in chain(*unmet.values()) if settings.is_secret(missing)]
    async for finding in services.found(asked, secrets, offline=offline, as_unit=as_unit):
        yield finding


def _print(finding: Finding) -> None:
    word = colored(COLORS[finding.level], f"{finding.level:<4}")
    print(f"{word}  {finding.name:<14} {harmless(finding.detail)}")
    if finding.fix:
        print(f"{'':<6}{'':<14} -> {harmless(finding.fix)}", flush=True)
