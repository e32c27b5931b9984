"""The servers of one contestant's turn, each its own: durable, on the measured disk, gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import peers
from benchmarks.figure import Size
from benchmarks.redis_server import durable_redis

POSTGRES_URL: Final = "BENCHMARK_POSTGRES_URL"
ENGINES: Final = ("sqlite", "postgres", "redis", "redis+postgres")
SETTINGS: Final = {
    "sqlite": "queue and conversations in one SQLite file",
    "postgres": "queue and conversations in one PostgreSQL database, fsync on",
    "redis": "queue on Redis, appendfsync always, Unix socket; conversations in an SQLite file",
    "redis+postgres": "queue on Redis, appendfsync always, Unix socket; conversations in PostgreSQL, fsync on",
}

Tables = Mapping[str, Mapping[str, Any]]


def missing(engine: str, size: Size) -> str | None:
    """Why it is not measured here."""
    if engine not in size.engines:
        return "left out at this size"
    if "postgres" in engine and (why := postgres_missing()):
        return why
    return peers.missing("redis", program="redis-server") if engine.startswith("redis") else None


def postgres_missing(*modules: str) -> str | None:
    # The server is the tests' own, with what they need.
    if why := peers.missing("psycopg", "pytest", *modules):
        return why
    from tests.servers.postgres import find_binaries

    return None if find_binaries() else "PostgreSQL is not installed"


@contextmanager
def tables_of(engine: str, directory: Path) -> Iterator[Tables]:
    """The tables of convoq.toml that choose the engine; its servers run inside."""
    tables: dict[str, Mapping[str, Any]] = {}
    with ExitStack() as stack:
        if "postgres" in engine:
            url = stack.enter_context(durable_postgres(directory))
            tables["database"] = {"url": url}
        if engine.startswith("redis"):
            tables["queue"] = {"engine": "redis"}
            tables["redis"] = {"url": stack.enter_context(durable_redis(directory))}
        yield tables


@contextmanager
def durable_postgres(directory: Path) -> Iterator[str]:
    """The URL of an empty database on a server of its own."""
    from tests.servers.postgres import PostgresServer, find_binaries

    binaries = find_binaries()
    if binaries is None:
        raise FileNotFoundError("PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="convoq-bench-postgres-", dir=_passable(directory.parent)))
    try:
        server = PostgresServer(folder, binaries, shared_buffers="256MB", max_wal_size="1GB")
        server.start()
        try:
            yield server.create_database()
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _passable(directory: Path) -> Path:
    """It, if the server's own user may enter it; else what any user may, and what is on a disk."""
    may_enter = all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))
    return directory if may_enter else Path("/var/tmp")
