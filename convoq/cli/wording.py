"""What a command is to say to a customer: a text of one's own, or a template."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from convoq.cli.acting import read_text
from convoq.cli.arguments import one_line
from convoq.cli.terminal.output import UsageError

if TYPE_CHECKING:
    from convoq.conversations.templates import TemplateRequest


def add_wording(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to say, or - for standard input")
    parser.add_argument("--template", type=one_line, metavar="NAME", help="instead of a text; its name, or its SID")
    parser.add_argument(
        "--var", dest="variables", type=_variable, action="append", default=[], metavar="NAME=VALUE",
        help="what stands in a gap of the template; once for each",
    )  # fmt: skip
    parser.add_argument("--language", metavar="CODE", help="of a template that is there in several")


def read_wording(args: argparse.Namespace) -> str | TemplateRequest:
    """Raises UsageError."""
    from convoq.conversations.templates import TemplateRequest

    if (args.text is None) == (args.template is None):
        raise UsageError("say either a text or --template NAME")
    if args.template is None:
        if args.variables or args.language:
            raise UsageError("--var and --language go with --template")
        return read_text(args.text)
    variables = dict(args.variables)
    if len(variables) < len(args.variables):
        raise UsageError("--var: each variable has one value")
    return TemplateRequest(name=args.template, variables=variables, language=args.language)


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{given!r} is no NAME=VALUE, such as 1=Ana")
    return name, value
