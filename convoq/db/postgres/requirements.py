"""What a server must be to keep convoq's promises: asked at each start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg

from convoq.errors import DatabaseRefused

OLDEST_SERVER: Final = 140_000

POOLED: Final = (
    "is behind a pooler, where no worker is woken and none is known to be dead: give database.direct_url, which leads "
    "around it (the same URL, where it pools whole sessions)"
)
ASKED: Final = """
    SELECT pg_backend_pid(), current_setting('server_version_num')::bigint, current_setting('server_version'),
           current_setting('server_encoding'), pg_is_in_recovery(), current_setting('default_transaction_read_only'),
           current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')
"""


def check(location: str, connection: psycopg.Connection[tuple[Any, ...]], *, has_direct_url: bool) -> None:
    """Raises DatabaseRefused with everything that is wrong with the server, in one line."""
    [(server_process, *told)] = connection.execute(ASKED).fetchall()
    found = list(problems(*told))
    # A pooler tells a client a process of its own making, or the one that it had first.
    if server_process != connection.info.backend_pid and not has_direct_url:
        found.append(POOLED)
    if found:
        raise DatabaseRefused(f"{location}: {'; '.join(found)}")


def problems(
    number: int, version: str, encoding: str, standby: bool, read_only: str, fsync: str, page_writes: str, commit: str
) -> Iterator[str]:
    if number < OLDEST_SERVER:
        yield f"is PostgreSQL {version}: convoq needs 14 or newer"
    if encoding != "UTF8":
        yield f"its encoding is {encoding}: create the database with ENCODING 'UTF8' TEMPLATE template0"
    if standby:
        yield "is a standby, which only reads: point database.url at the primary (target_session_attrs=read-write)"
    elif read_only == "on":
        yield "only reads: switch default_transaction_read_only off"
    for name, value in (("fsync", fsync), ("full_page_writes", page_writes), ("synchronous_commit", commit)):
        if value == "off":
            yield f"{name} is off, so that a power cut takes what was accepted: switch it on"
