"""`convoq templates`: what may be sent outside WhatsApp's 24 hours."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.conversations.templates import Template
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "templates",
        help="what may be sent outside WhatsApp's 24 hours",
        description="The templates of your Twilio account, as of the last sync. `convoq send --template` sends one.",
        epilog="example:\n  convoq templates sync",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = commands.add_parser(
        "list",
        help="all there are",
        description="Lists the templates, each with its language, its variables and what WhatsApp says of it.",
        epilog="example:\n  convoq templates list --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_all)
    syncing = commands.add_parser(
        "sync",
        help="ask Twilio for them",
        description="Reads all templates from Twilio's Content API. What was known before stays when that fails.",
        epilog="example:\n  convoq templates sync && convoq templates list",
    )
    syncing.add_argument("--json", action="store_true", help="for programs")
    syncing.set_defaults(run=sync)


def list_all(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.clock import WallClock
    from convoq.conversations.templates import Templates

    async def main(options: Options) -> list[Template]:
        async with open_existing(options) as database:
            return await Templates(database, WallClock()).all()

    templates = run_async(main(load_settings(args.config).options))
    if args.json:
        print_json({"templates": [one._asdict() for one in templates]})
    elif not templates:
        say("There are none on record: convoq templates sync asks Twilio for them.")
    else:
        print_table(("NAME", "LANGUAGE", "VARIABLES", "WHATSAPP", "TEXT"), [_row(one) for one in templates])
    return 0


def sync(args: argparse.Namespace) -> int:
    from convoq.channels.base import SendFailed
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.clock import WallClock
    from convoq.conversations.templates import APPROVED, Templates, declared_templates, named_by

    async def main(options: Options) -> tuple[list[Template], list[Template]]:
        async with open_existing(options) as database:  # before Twilio is asked: without one there is nothing to do
            templates, declared = Templates(database, WallClock()), declared_templates(options.templates)
            try:
                found = await _read_all(options)
            except SendFailed:
                await templates.declare(declared)
                raise
            await templates.replace_all(named_by(declared, found))
            known = {one.sid for one in found}
            return found, [one for one in declared if one.sid not in known]

    templates, missing = run_async(main(load_settings(args.config).options))
    approved = sum(one.approval == APPROVED for one in templates)
    if args.json:
        print_json({"templates": len(templates), "approved": approved, "missing": [one.sid for one in missing]})
    else:
        say(f"{counted(len(templates), 'template')} at Twilio, {approved} approved by WhatsApp")
        for one in missing:
            say(f"{one.name}: Twilio has no {one.sid}: correct it in [[templates]]")
    return 1 if missing else 0


async def _read_all(options: Options) -> list[Template]:
    from convoq.channels.twilio.templates import TwilioTemplates
    from convoq.clock import WallClock
    from convoq.conversations.templates import Template, gaps_in

    twilio = await TwilioTemplates.open(options.twilio, clock=WallClock())
    try:
        return [
            Template(
                one.sid,
                one.name,
                one.language,
                one.kind,
                one.body,
                gaps_in(one.wording),
                one.category,
                one.approval,
                one.reason,
            )
            for one in await twilio.read_all()
        ]
    finally:
        await twilio.close()


def _row(template: Template) -> tuple[str, str, str, str, str]:
    approval = f"{template.approval} ({template.reason})" if template.reason else template.approval
    return template.name, template.language, ", ".join(template.variables), approval, template.body or template.kind
