"""Finds the line of every key in a TOML text, which tomllib reads but does not tell."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

from convoq.settings.schema import KeyPath

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|\'[^\']*\'')
# A string of three quotes may end in up to two more of them.
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE: Final = re.compile(r"[^,\]}#\n]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every key and list item of a text that tomllib accepts."""
    return _Walk(text).document()


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._last_item: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> KeyPath:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        keys = self._keys()
        self._at += brackets
        path = self._resolve(keys[:-1]) + keys[-1:]
        if brackets == 2:
            self._note(path)
            self._last_item[path] = self._last_item.get(path, -1) + 1
        path = self._latest(path)
        self._note(path)
        return path

    def _resolve(self, keys: KeyPath) -> KeyPath:
        path: KeyPath = ()
        for key in keys:
            path = self._latest((*path, key))
            self._note(path)
        return path

    def _latest(self, path: KeyPath) -> KeyPath:
        """[a.b] below [[a]] means the b of the last a."""
        return (*path, self._last_item[path]) if path in self._last_item else path

    def _pair(self, table: KeyPath) -> None:
        keys = self._keys()
        for length in range(1, len(keys) + 1):
            self._note(table + keys[:length])
        self._at += len("=")
        self._skip(_SPACE)
        self._value(table + keys)

    def _keys(self) -> KeyPath:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            raw = self._skip(_KEY)
            keys.append(raw if raw[:1] not in ("'", '"') else tomllib.loads(f"key = {raw}")["key"])
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return tuple(keys)
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        match self._text[self._at : self._at + 1]:
            case '"' | "'":
                self._skip(_STRING)
            case "[":
                self._array(path)
            case "{":
                while self._more("}"):
                    self._pair(path)
            case _:
                self._skip(_BARE)

    def _array(self, path: KeyPath) -> None:
        index = 0
        while self._more("]"):
            self._note((*path, index))
            self._value((*path, index))
            index += 1

    def _more(self, end: str) -> bool:
        """Steps over the opening bracket or a comma; False once over the closing bracket too."""
        self._skip(_BLANK)
        if not self._text.startswith(end, self._at):
            self._at += 1
            self._skip(_BLANK)
        if self._text.startswith(end, self._at):
            self._at += 1
            return False
        return True

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _note(self, path: KeyPath) -> None:
        self._lines.setdefault(path, bisect_right(self._line_ends, self._at - 1) + 1)
