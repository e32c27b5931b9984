"""The commands on a PostgreSQL database: they show and do what they do with a file, or say what does it instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoq.cli import main

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], Run]:
    """The command line with a convoq.toml that names this database."""

    def with_url(url: str) -> Run:
        config = tmp_path / "convoq.toml"
        config.write_text(f'[database]\nurl = "{url}"\n[ai]\nmodel = "offline"\n[handlers]\ngreet = "json:dumps"\n')
        return lambda *arguments: main(["--config", str(config), *arguments])

    return with_url


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_migrate_creates_its_tables_once(
    run: Callable[[str], Run], postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    convoq = run(postgres_url)
    assert [convoq("db", "migrate"), convoq("db", "migrate")] == [0, 0]
    first, second = shown(capsys).splitlines()
    assert first.startswith("postgresql://127.0.0.1:")
    assert (first.endswith(", new"), second.endswith(" already")) == (True, True)


def test_what_was_never_migrated_is_not_created_by_a_look(
    run: Callable[[str], Run], postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(postgres_url)("status") == 1
    assert "no database of convoq's at postgresql://127.0.0.1:" in capsys.readouterr().err
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_jobs_are_enqueued_listed_cancelled_and_counted(
    run: Callable[[str], Run], migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    convoq = run(migrated_postgres_url)
    assert convoq("enqueue", "greet", "--payload", '{"name": "Ana"}', "--delay", "60") == 0
    job_id = shown(capsys).split()[0]
    assert convoq("jobs", "list", "--json") == 0
    assert [job["id"] for job in json.loads(shown(capsys))["jobs"]] == [job_id]
    assert convoq("jobs", "cancel", job_id) == 0
    shown(capsys)
    assert convoq("status", "--json") == 0
    status: dict[str, Any] = json.loads(shown(capsys))
    assert status["database"]["path"] == migrated_postgres_url.replace("convoq@", "")
    assert status["database"]["log_bytes"] is None


@pytest.mark.parametrize(
    "command",
    [
        ("conversations", "list", "--waiting", "--failed", "--text", "needle"),
        ("schedules", "list"),
        ("schedules", "pause", "housekeeping"),
        ("db", "check"),
        ("conversations", "pause", "--all", "--as", "Marta"),
        ("conversations", "pauses"),
        ("operators", "add", "Marta"),
        ("audit", "--who", "Marta", "--since", "7d", "--conversation", "1", "--before", "9"),
    ],
)
def test_what_reads_or_changes_the_store_works(
    run: Callable[[str], Run], migrated_postgres_url: str, command: tuple[str, ...]
) -> None:
    assert run(migrated_postgres_url)(*command) == 0


def test_a_person_steps_in_as_with_a_file(
    run: Callable[[str], Run], migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    convoq = run(migrated_postgres_url)
    ben, marta = "+15551230002", ("--as", "Marta")
    for arguments in (
        ("send", ben, "Your table is ready.", "--from", "+15550009999", *marta),
        ("conversations", "takeover", "1", "--as", "Luis", "--force"),
        ("conversations", "reply", "1", "At eight?", "--as", "Luis"),
        ("conversations", "note", ben, "likes the window"),
        ("conversations", "release", "1", "--as", "Luis"),
        ("conversations", "close", "1", *marta),
        ("contacts", "block", ben, *marta),
        ("contacts", "unblock", ben, *marta),
        ("operators", "add", "Luis"),
        ("operators", "remove", "Luis"),
    ):
        assert convoq(*arguments) == 0, arguments
    capsys.readouterr()
    assert convoq("audit", "--json") == 0
    assert [act["act"] for act in json.loads(shown(capsys))["acts"]][::-1] == [
        "send", "take_over", "reply", "note", "release", "close", "block", "unblock", "add_operator", "remove_operator",
    ]  # fmt: skip
    assert convoq("contacts", "show", ben) == 0
    assert shown(capsys).startswith(ben)


def test_a_backup_is_pg_dumps(
    run: Callable[[str], Run], migrated_postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(migrated_postgres_url)("db", "backup", str(tmp_path / "copy.db")) == 1
    assert "whose own pg_dump makes a consistent copy beside the running roles" in capsys.readouterr().err
    assert not (tmp_path / "copy.db").exists()


def test_the_doctor_looks_at_the_server(
    run: Callable[[str], Run], migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(migrated_postgres_url)("doctor", "--offline", "--json")
    found = {finding["name"]: finding for finding in json.loads(shown(capsys))["checks"]}
    for name in ("database", "schema", "server", "transactions", "writing", "clocks", "dead letters"):
        assert found[name]["level"] == "ok", found[name]
    assert "filesystem" not in found


def test_the_doctor_says_why_the_server_does_not_let_it_in(
    run: Callable[[str], Run], postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{postgres_url}_nowhere")("doctor", "--offline", "--json") == 1
    found = {finding["name"]: finding for finding in json.loads(shown(capsys))["checks"]}
    assert "does not exist: create it, or correct database.url" in found["opening"]["detail"]


def test_a_password_in_the_url_is_refused_and_not_repeated(
    run: Callable[[str], Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("postgresql://convoq:s3cret@db/convoq")("status") == 78
    told = capsys.readouterr().err
    assert "database.url: must not hold a password: that is database.password" in told
    assert "s3cret" not in told
