"""Every SQL statement of convoq: those that its source holds, and those that its code is seen to execute."""

from __future__ import annotations

import ast
import importlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import convoq

SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\b")
FRAGMENT = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|ORDER BY)\b")
SCAN = re.compile(r"SCAN (?P<name>\S+)(?: USING (?:COVERING )?INDEX (?P<index>\w+))?")
GRAIN = 50  # steps of SQLite's virtual machine between two looks
STEPS_A_ROW = 150  # what it takes to change one row in all its indexes, triggers included
ROOT = Path(convoq.__file__).parent


class Scan(NamedTuple):
    """What a statement reads whole."""

    table: str | None
    by_index: str | None


@dataclass(slots=True)
class Seen:
    """A statement as it was executed."""

    values: Any  #: those that it was first executed with
    at_gate: bool = False  #: in a transaction that writes, while all other writers wait
    steps: int = 0  #: of SQLite's virtual machine, at most, beyond those that the changed rows explain


class RecordingConnection(sqlite3.Connection):
    """Remembers each statement that it executes, and counts what those cost that change rows."""

    seen: dict[str, Seen]
    _writing = False

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        cursor = self._counted(sql, values, lambda: super(RecordingConnection, self).execute(sql, values))
        self._writing = sql == "BEGIN IMMEDIATE" or (self._writing and self.in_transaction)
        return cursor

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        rows = list(rows)
        first = rows[0] if rows else None
        return self._counted(sql, first, lambda: super(RecordingConnection, self).executemany(sql, rows))

    def _counted(self, sql: str, values: Any, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        seen = self.seen.setdefault(sql, Seen(values))
        seen.at_gate |= self._writing
        counted = count()
        self.set_progress_handler(lambda: next(counted) * 0, GRAIN)
        cursor = run()
        self.set_progress_handler(None, 0)
        seen.steps = max(seen.steps, next(counted) * GRAIN - max(0, cursor.rowcount) * STEPS_A_ROW)
        return cursor


def constants() -> Iterator[str]:
    """The statements that stand whole in the source, and those that a module builds while it is imported."""
    for path, tree in _modules():
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in inside else None
            if isinstance(text, str) and SQL.match(text) and "pg_stat" not in text:  # what a finding tells to type
                yield text
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        if any(isinstance(node, ast.JoinedStr) for node in ast.walk(tree)) and "execute" in path.read_text():
            found = vars(importlib.import_module(name)).values()
            yield from (value for value in found if isinstance(value, str) and SQL.match(value))


def built() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Where a statement is put together while convoq runs, and what it looks like then."""
    for path, tree in _modules():
        at_import = {id(part) for node in tree.body if isinstance(node, ast.Assign) for part in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and id(node) not in at_import:
                pieces = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                if FRAGMENT.search(" ".join(str(piece) for piece in pieces if piece)):
                    pattern = "".join(".*" if piece is None else re.escape(str(piece)) for piece in pieces)
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", re.compile(pattern, re.DOTALL)


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        if "postgres" in path.parts:
            continue  # what SQLite never sees
        yield path, ast.parse(path.read_text("utf-8"))


def scans(connection: sqlite3.Connection, sql: str, values: Any = None) -> list[Scan]:
    """The tables and indexes that SQLite says it will read from end to end, or until there is enough."""
    query = f"EXPLAIN QUERY PLAN {sql}"
    if values is None:
        values = _Nulls() if re.search(r":[a-z]", sql) else [None] * _places(sql)
    found = (SCAN.match(detail) for *_, detail in connection.execute(query, values))
    return [Scan(_table(sql, match["name"]), match["index"]) for match in found if match]


def _table(sql: str, name: str) -> str | None:
    """The table behind an alias; None for a subquery, whose own plan says what it reads."""
    if name.startswith("(") or re.search(rf"\)\s+AS {name}\b", sql):
        return None
    aliased = re.search(rf"\b(\w+) AS {name}\b", sql)
    return aliased[1] if aliased else name


def _places(sql: str) -> int:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    return max(numbered, default=0) or sql.count("?")


class _Nulls(dict[str, None]):
    def __missing__(self, _: str) -> None:
        return None
