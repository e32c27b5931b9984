"""What commands say: data on standard output, talk on standard error, and the question before something big."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from convoq.errors import ConvoqError
from convoq.monitoring.documents import SCHEMA_VERSION

COLORS: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class UsageError(ConvoqError):
    """The command line does not say what to do."""

    exit_code = 2


def print_json(document: Mapping[str, Any]) -> None:
    """One object on one line, in ASCII: nothing in it can steer a terminal."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **document}, separators=(",", ":"))
    print(text.replace("\x7f", "\\u007f"), flush=True)


def print_raw(text: str) -> None:
    """Exactly the text, for programs and files; on a terminal nothing in it can steer that."""
    from convoq.text import harmless

    print("\n".join(map(harmless, text.split("\n"))) if sys.stdout.isatty() else text)


def say(text: str) -> None:
    """Talk to the person: it is not part of the data."""
    from convoq.text import harmless

    print(harmless(text), file=sys.stderr)


def colored(color: str, text: str) -> str:
    """The text in color where standard output is a terminal that wants colors."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{COLORS[color]}m{text}\x1b[0m" if wanted else text


def is_interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> bool:
    """Whether to go on. Raises UsageError without --yes and without a terminal to ask at."""
    if yes:
        return True
    if not is_interactive():
        raise UsageError(f"{question} Nobody can be asked here: add --yes, or look first with --dry-run")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class ProgressBar:
    """Shown on a terminal, for what takes longer than a moment; nothing elsewhere."""

    WIDTH: Final = 30

    def __init__(self, verb: str, total: int) -> None:
        self._verb = verb
        self._total = total
        self._shown = sys.stderr.isatty() and total > 500

    def show(self, done: int) -> None:
        if self._shown:
            filled = self.WIDTH * done // max(1, self._total)
            bar = "#" * filled + "-" * (self.WIDTH - filled)
            print(f"\r{self._verb} {done} of {self._total} [{bar}]", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
