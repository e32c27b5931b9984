"""A PostgreSQL server of the tests' own, from Debian's binaries, in a temporary folder: never the machine's service."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from convoq.db.postgres.migrations import migrate

USER: Final = "convoq"
SERVER_USER: Final = "postgres"  #: Debian's; the server refuses to run as root
DEBIAN: Final = Path("/usr/lib/postgresql")
START_TIMEOUT: Final = 60.0
#: The tables that were ever written to, and how much of their files is in use.
WRITTEN: Final = """
    SELECT relname, pg_relation_size(oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_version'
        AND pg_relation_size(oid) > 0
"""
RESTART_SEQUENCES: Final = "SELECT setval(sequencename::regclass, 1, false) FROM pg_sequences"  # RESTART makes files
LARGE: Final = 1 << 20  #: bytes of dead rows, which every later test would have to look at
#: Of a test that has ended.
END_OTHERS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
#: A test's connections are short; the smallest caches start fastest.
OPTIONS: Final = {"max_connections": "100", "shared_buffers": "16MB", "max_wal_size": "256MB"}


def find_binaries() -> Path | None:
    """The directory of the newest server that is installed."""
    versions = [found.parent for found in DEBIAN.glob("*/bin/postgres")] if DEBIAN.is_dir() else []
    if versions:
        return max(versions, key=lambda binaries: int(binaries.parent.name))
    in_path = shutil.which("postgres")
    return Path(in_path).resolve().parent if in_path and shutil.which("initdb") else None


class PostgresServer:
    """One cluster: it listens on 127.0.0.1 and on a Unix socket, trusts who connects, and fsyncs as in earnest."""

    def __init__(self, folder: Path, binaries: Path, **options: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = 0
        self.environ: dict[str, str] = {}  #: more of it, from the next start on
        self._binaries = binaries
        self._options = OPTIONS | options
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(folder, SERVER_USER)
        initdb = ("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8")
        subprocess.run(self._command(*initdb, "--no-sync"), check=True, stdout=subprocess.DEVNULL, cwd=folder)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns when it takes connections; on the same port as before, so that URLs stay true."""
        self.port = self.port or free_port()
        deadline = time.monotonic() + START_TIMEOUT
        self._launch()
        while not self._takes_connections():
            if time.monotonic() > deadline:
                raise AssertionError((self.folder / "server.log").read_text(errors="replace"))
            if self._process is None or self._process.poll() is not None:
                self._launch()  # after a SIGKILL the last server's processes may need a moment to notice
            time.sleep(0.02)  # between two looks at the server

    def _launch(self) -> None:
        options = self._options | {"port": str(self.port), "listen_addresses": "127.0.0.1"}
        options["unix_socket_directories"] = str(self.folder)
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            command = self._command("postgres", "-D", str(self.data), *settings)
            # Behind setpriv, whose user may differ: a library that it preloads shares memory with the server.
            at = command.index(str(self._binaries / "postgres"))
            command[at:at] = ["env", *(f"{name}={value}" for name, value in self.environ.items())]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def _takes_connections(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT: at once, and the next start recovers from the log; SIGINT: in order; SIGKILL: as a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_TIMEOUT)
            self._process = None

    def create_database(self, template: str = "template0") -> str:
        """Its URL. A copy of `template`, which must have no connections."""
        name = f"test_{secrets.token_hex(6)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(create)
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Also when something is connected to it."""
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(url.rpartition("/")[2]))
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(drop)

    def _command(self, program: str, *arguments: str) -> list[str]:
        # The server must not outlive a test run that was killed.
        command = ["setpriv", "--pdeathsig", "QUIT"]
        if os.geteuid() == 0:
            command += [f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups"]
        return [*command, str(self._binaries / program), *arguments]


@contextmanager
def running_postgres(**options: str) -> Iterator[PostgresServer]:
    """A server that its test alone uses, and may stop; skips the test where there are no binaries."""
    binaries = find_binaries()
    if binaries is None or shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    # Not pytest's tmp_path: user postgres may not enter it, and it is too long for a socket's name.
    folder = Path(tempfile.mkdtemp(prefix="convoq-postgres-"))
    try:
        server = PostgresServer(folder, binaries, **options)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for all tests of this process: whoever must stop it takes a `running_postgres()`."""
    with running_postgres() as server:
        yield server
        while _sessions:
            _sessions.popitem()[1].close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Of an empty database that this test has for itself."""
    url = postgres_server.create_database()
    try:
        yield url
    finally:
        postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: PostgresServer) -> str:
    """Of a database with convoq's tables, which tests have one after the other: see `migrated_postgres_url`."""
    url = postgres_server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
    return url


@pytest.fixture
def migrated_postgres_url(shared_postgres_url: str) -> str:
    """Of a database with convoq's tables and not one row. Emptied, which takes a tenth of making one anew."""
    empty_database(shared_postgres_url)
    return shared_postgres_url


_sessions: Final = dict[str, psycopg.Connection[tuple[Any, ...]]]()  #: whose caches are warm, by their databases' URLs


def empty_database(url: str) -> None:
    """Of all rows, and of whoever is still connected to it."""
    session = _session(url)
    try:
        session.execute(END_OTHERS)
    except psycopg.OperationalError:  # a test has ended all the others
        del _sessions[url]
        session = _session(url)
        session.execute(END_OTHERS)
    written = session.execute(WRITTEN).fetchall()
    statements = [f"TRUNCATE {name} CASCADE" if size > LARGE else f"DELETE FROM {name}" for name, size in written]
    session.execute("; ".join([*statements, RESTART_SEQUENCES]).encode())


def _session(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    if url not in _sessions:
        _sessions[url] = session = psycopg.connect(url, autocommit=True)
        session.execute("SET synchronous_commit = off")
        session.execute("SET session_replication_role = replica")  # in any order of references
    return _sessions[url]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
