"""The SQL that is written for both databases, as PostgreSQL and its driver take it."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from convoq.db.transaction import Cursor, Values

# What stands in quotes or behind -- is left alone; `::` is no place.
TOKENS: Final = re.compile(
    r"(?P<kept>'(?:[^']|'')*'|--[^\n]*|::)|(?P<mark>\?)|:(?P<name>[a-z_]\w*)|\b(?P<function>instr)(?=\()", re.IGNORECASE
)


@lru_cache(maxsize=1024)
def translate(sql: str) -> str:
    """`?` and `:name` as the driver's places, and SQLite's `instr` by its name here."""
    return TOKENS.sub(_translate_token, sql.replace("%", "%%"))


def _translate_token(token: re.Match[str]) -> str:
    if token["mark"]:
        return "%s"
    if token["name"]:
        return f"%({token['name']})s"
    return "strpos" if token["function"] else token[0]


class PostgresTransaction:
    """An open transaction, as units see it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Values = (), /) -> Cursor:
        return self._connection.execute(translate(sql), values)

    def executemany(self, sql: str, rows: Iterable[Values], /) -> Cursor:
        cursor = self._connection.cursor()
        cursor.executemany(translate(sql), rows)
        return cursor


class _TextDumper(StrDumper):
    """PostgreSQL's text holds no NUL, and a person may write one."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))


class _EnumDumper(_TextDumper):
    """By its value, as SQLite has it: the driver's own takes the name."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(str(obj))


class _BoolDumper(Int8Dumper):
    """The columns of both databases are numbers."""

    def dump(self, obj: int) -> Buffer | None:
        return super().dump(int(obj))


def adapters() -> AdaptersMap:
    """How values travel. Numbers always as bigint: else a statement is prepared once for each size of its numbers."""
    found = AdaptersMap(psycopg.adapters)
    dumpers: dict[type, type[Dumper]] = {
        str: _TextDumper,
        enum.StrEnum: _EnumDumper,
        bool: _BoolDumper,
        int: Int8Dumper,
    }
    for kind, dumper in dumpers.items():
        found.register_dumper(kind, dumper)
    return found
