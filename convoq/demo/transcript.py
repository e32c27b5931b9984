"""Writes for people: colours on a terminal, plain text elsewhere, lines that fit."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Mapping
from typing import Final, TextIO

WIDEST: Final = 100

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class DemoOutput:
    """Everything printed through it is safe for a terminal, whatever people wrote."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        # https://no-color.org: any value that is not empty switches colours off.
        self._colours = stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self.width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)

    def style(self, text: str, *names: str) -> str:
        """The text in these styles, where there are any."""
        plain = _CONTROLS.sub("�", text)
        codes = ";".join(_STYLES[name] for name in names)
        return f"\x1b[{codes}m{plain}\x1b[0m" if self._colours and codes else plain

    def line(self, text: str = "") -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def block(self, head: str, text: str, tail: str, *styles: str) -> None:
        """`text`, wrapped, behind a `head` that is followed by spaces only, with `tail` after its last line."""
        width = max(20, self.width - len(head) - 10)
        lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, width) or [""]] or [""]
        for number, piece in enumerate(lines):
            last = number == len(lines) - 1
            gap = " " * (self.width - len(head) - len(piece) - len(tail)) if last and tail else ""
            self.line(
                (head if number == 0 else " " * len(head))
                + self.style(piece, *styles)
                + (gap + self.style(tail, "dim") if last and tail else "")
            )
