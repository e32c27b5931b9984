"""The server that tests start: each test has a database of its own, and a restart keeps what was committed."""

from __future__ import annotations

import signal

import psycopg

from tests.servers.postgres import PostgresServer, running_postgres


def test_each_test_has_an_empty_database(postgres_server: PostgresServer, postgres_url: str) -> None:
    other = postgres_server.create_database()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mine (id integer)")
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
    postgres_server.drop_database(other)


def test_a_killed_server_starts_again_on_its_port_with_what_was_committed() -> None:
    with running_postgres() as server:
        url = server.create_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.stop(signal.SIGKILL)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
