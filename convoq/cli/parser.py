"""What can be said on the command line. Only the module of the command that was given is imported."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from convoq import __version__
from convoq.text import harmless

if TYPE_CHECKING:
    from pathlib import Path


class Command(NamedTuple):
    """A subcommand. Its module has `add_parser(subparsers)`, which sets `run`: arguments in, exit code out."""

    name: str
    module: str
    help: str


GROUPS: Final[dict[str, tuple[Command, ...]]] = {
    "Run": (
        Command("serve", "roles", "the webhook API: takes messages in"),
        Command("schedule", "roles", "the scheduler: turns time into jobs"),
        Command("work", "roles", "the worker: answers"),
        Command("console", "roles", "the REST API for your own people and programs"),
    ),
    "Try it without an account": (
        Command("dev", "roles", "all three in one, with phones to write from in the browser"),
        Command("demo", "roles", "play conversations through the real path and check the result"),
    ),
    "Set up": (
        Command("init", "init", "write a convoq.toml to start from"),
        Command("config", "config", "check, show and explain the settings"),
        Command("doctor", "doctor.command", "look for everything that may be wrong, and say what to do"),
    ),
    "Operate": (
        Command("status", "status", "the queue, the conversations and the processes at a glance"),
        Command("jobs", "jobs", "list, show, retry, run, cancel and discard jobs"),
        Command("conversations", "conversations", "list, show and follow conversations, take them over"),
        Command("contacts", "contacts", "show a person; block, unblock, export and erase"),
        Command("send", "send", "write to a person"),
        Command("templates", "templates", "what may be sent outside WhatsApp's 24 hours"),
        Command("operators", "operators", "who may take conversations over, and with what programs come in"),
        Command("notify", "notify", "test who is told when something calls for a person"),
        Command("audit", "audit", "who of yours did what"),
        Command("costs", "costs", "what the models have cost"),
        Command("figures", "figures", "what came, who answered how fast, what was handed over"),
        Command("enqueue", "enqueue", "put a job into the queue"),
        Command("schedules", "schedules", "what runs when"),
        Command("catch-up", "catch_up", "fetch messages whose webhook never came"),
        Command("db", "database", "migrate, check and back up the database"),
        Command("version", "version", "print the version"),
    ),
}

_CHOICE: Final = re.compile(r"invalid choice: '(?P<given>.*)' \(choose from (?P<known>.*)\)$", re.DOTALL)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with `run` to call. Raises SystemExit after help (0) or a line about wrong usage (2).

    Without arguments it is help that is wanted. A group without its command (`convoq jobs`) stays wrong usage: in a
    script that lost a word, nothing was done.
    """
    return build_parser(argv).parse_args(argv or ["-h"])


class Parser(argparse.ArgumentParser):
    """Takes --config at every level, shows examples as they are written, and says errors in one line."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options, allow_abbrev=False)
        # Without a default of its own, so that a level where it is not given keeps what another one was given.
        self.add_argument(
            "--config", type=_path, metavar="FILE", default=argparse.SUPPRESS, help="the convoq.toml to read"
        )

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        # argparse lets only the root complain about what a subcommand does not know, so the wrong page was named.
        namespace, unknown = super().parse_known_args(*arguments, **options)
        if unknown:
            self.error(self._unknown(unknown))
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"convoq: {harmless(_suggest(message))}\nTry: {self.prog} -h\n")

    def _unknown(self, arguments: Sequence[str]) -> str:
        first = arguments[0].partition("=")[0]
        meant = difflib.get_close_matches(first, self._option_string_actions, n=1, cutoff=0.7)
        hint = f". Did you mean {meant[0]}?" if meant and first.startswith("-") else ""
        return f"unrecognized arguments: {' '.join(arguments)}{hint}"


class RootParser(Parser):
    """The help page lists the commands in groups."""

    def format_help(self) -> str:
        width = max(len(command.name) for group in GROUPS.values() for command in group)
        lines = ["usage: convoq [-h] [--version] [--config FILE] COMMAND ...", "", self.description or ""]
        for title, commands in GROUPS.items():
            lines += ["", f"{title}:", *(f"  {command.name:<{width}}  {command.help}" for command in commands)]
        options = self._get_formatter()
        options.start_section("Options")
        options.add_arguments(action for action in self._actions if action.option_strings)
        options.end_section()
        lines += ["", options.format_help().rstrip()]
        return "\n".join([*lines, "", self.epilog or "", ""])


def build_parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The whole command line, as far as these arguments need it."""
    parser = RootParser(
        prog="convoq",
        description="Answers the people who write to your Twilio number with an AI, and loses nothing.",
        epilog="`convoq COMMAND -h` explains a command and shows an example. Start with: convoq demo",
    )
    parser.add_argument("--version", action="version", version=f"convoq {__version__}", help="print the version")
    parser.set_defaults(config=None)
    # Without parser_class each subcommand would be a RootParser too, and show the root's page as its own.
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=Parser, required=True)
    # A command that isn't among the arguments can't be the one that was given.
    wanted = [command for group in GROUPS.values() for command in group if command.name in argv]
    for module in dict.fromkeys(command.module for command in wanted):
        import_module(f"convoq.cli.{module}").add_parser(subparsers)
    for command in (command for group in GROUPS.values() for command in group):
        if command.name not in subparsers.choices:
            subparsers.add_parser(command.name, help=command.help)
    return parser


def _path(text: str) -> Path:
    from pathlib import Path  # a sixth of what `convoq version` would take

    return Path(text)


def _suggest(message: str) -> str:
    found = _CHOICE.search(message)
    if found is None:
        return message
    known = re.findall(r"[\w-]+", found["known"])
    meant = difflib.get_close_matches(found["given"], known, n=1, cutoff=0.6)
    if meant:
        return f"there is no {found['given']!r}. Did you mean {meant[0]!r}?"
    return f"there is no {found['given']!r}: choose from {', '.join(known)}"
