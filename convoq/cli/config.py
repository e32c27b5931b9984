"""`convoq config`: check the settings, show what is in force, print what there is to set."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convoq.errors import ConfigError

if TYPE_CHECKING:
    from convoq.settings.load import Loaded
    from convoq.settings.problems import Unmet
    from convoq.settings.schema import KeyPath


def add_parser(subparsers: Any) -> None:
    """Adds `config` and its subcommands. Each sets `run`, which takes the arguments and returns the exit code."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "config", help="check, show and explain the settings", description="Check, show and explain the settings.",
        epilog="example:\n  convoq config check",
    )  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    checking = commands.add_parser(
        "check",
        help="find everything that is wrong with the settings",
        description="Finds everything for which a role would refuse to start. Agents and handlers of your own are\n"
        "imported, as the worker does.",
        epilog="example:\n  convoq config check work",
    )
    checking.add_argument("roles", nargs="*", type=_role, metavar="ROLE", help="serve, schedule, work; default: all")
    checking.set_defaults(run=check)
    showing = commands.add_parser(
        "show",
        help="print the settings in force, secrets masked",
        description="Prints every setting as this process would use it, as TOML. Secrets are shown as ***.",
        epilog="example:\n  convoq config show --origin",
    )
    showing.add_argument("--origin", action="store_true", help="say where each one comes from")
    showing.add_argument("--json", action="store_true", help="for programs")
    showing.set_defaults(run=show)
    writing = commands.add_parser(
        "example",
        help="print convoq.toml with every option",
        description="Prints a convoq.toml that explains every option and sets none.",
        epilog="example:\n  convoq config example > convoq.toml",
    )
    writing.set_defaults(run=example)
    documenting = commands.add_parser(
        "reference",
        help="print docs/configuration.md",
        description="Prints every option with its default, variable and credential, as Markdown.",
        epilog="example:\n  convoq config reference > configuration.md",
    )
    documenting.set_defaults(run=reference)


def _role(name: str) -> str:
    from convoq.monitoring.roles import ROLES

    if name not in ROLES:
        raise argparse.ArgumentTypeError(f"no such role: {name!r} (one of {', '.join(ROLES)})")
    return name


def check(args: argparse.Namespace) -> int:
    """Prints a line for each role that can start. Raises ConfigError with everything that is wrong or missing."""
    from convoq.daemon.requirements import check_role
    from convoq.monitoring.roles import ROLES
    from convoq.settings.load import load

    loaded = load(args.config)
    print(f"{_source(loaded)}: ok")
    unmet_by: dict[Unmet, list[str]] = {}
    for role in [role for role in ROLES if role in args.roles or not args.roles]:
        found = check_role(loaded, role)
        for unmet in found:
            unmet_by.setdefault(unmet, []).append(role)
        if not found:
            print(f"{role}: ok")
    if unmet_by:
        raise ConfigError("\n".join(f"{', '.join(roles)}: {unmet}" for unmet, roles in unmet_by.items()))
    return 0


def show(args: argparse.Namespace) -> int:
    """Prints every setting, as TOML for people or as JSON for programs."""
    from convoq.settings.load import load

    loaded = load(args.config)
    if args.json:
        from convoq.cli.terminal.output import print_json
        from convoq.monitoring.documents import settings_document

        print_json(settings_document(loaded, origins=args.origin))
    else:
        print("\n".join(_as_toml(loaded, args.origin)))
    return 0


def _as_toml(loaded: Loaded, origins: bool) -> Iterator[str]:
    from convoq.monitoring.documents import without_secrets
    from convoq.settings.schema import SECTIONS

    yield f"# {_source(loaded)}"
    for name, value in without_secrets(loaded.options.model_dump()).items():
        if name in SECTIONS or isinstance(value, dict):
            tables: list[tuple[KeyPath, dict[str, Any]]] = [((name,), value)]
        else:
            tables = [((name, index), item) for index, item in enumerate(value)]
        for path, table in tables:
            yield ""
            yield f"[[{name}]]" if len(path) == 2 else f"[{name}]"
            yield from _entries(loaded, path, table, origins)


def _entries(loaded: Loaded, path: KeyPath, table: dict[str, Any], origins: bool) -> Iterator[str]:
    from convoq.settings.reference import key_text, toml_text

    for key, value in table.items():
        entry = f"# {key} is not set" if value is None else f"{key_text(key)} = {toml_text(value)}"
        yield f"{entry:<48}  # {loaded.origin(*path, key)}" if origins else entry


def _source(loaded: Loaded) -> str:
    from convoq.text import printable

    return printable(str(loaded.file)) if loaded.file else "no convoq.toml"


def example(_: argparse.Namespace) -> int:
    """Prints convoq.toml with every option, commented out at its default."""
    from convoq.settings import reference as texts

    print(texts.example(), end="")
    return 0


def reference(_: argparse.Namespace) -> int:
    """Prints every option as Markdown."""
    from convoq.settings import reference as texts

    print(texts.reference(), end="")
    return 0
