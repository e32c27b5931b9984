"""How every command begins and ends: arguments, exit codes, one line for what goes wrong."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from convoq import __version__
from convoq.cli import main
from convoq.errors import ConvoqError, DatabaseUnavailable
from tests.cli.scenes import TOKEN, Place, bury, job
from tests.db.notes import continued, frozen


def convoq(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONVOQ_")}
    return subprocess.run(
        [sys.executable, "-m", "convoq", *arguments],
        cwd=cwd, env={**clean, **environ}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_version_is_printed_without_loading_the_rest(tmp_path: Path) -> None:
    script = "import sys; from convoq.cli import main; main(['version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    version, modules = done.stdout.splitlines()

    assert version == f"convoq {__version__}"
    loaded = {name.partition(".")[0] for name in modules.split()}
    assert not loaded & {"pydantic", "aiohttp", "aiosqlite", "structlog", "twilio", "pydantic_ai", "asyncio"}


@pytest.mark.process
def test_version_takes_less_than_a_tenth_of_a_second(tmp_path: Path) -> None:
    """Of the processor: the machine may be busy with something else."""
    script = "import sys; from convoq.cli import main; sys.exit(main())"
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script, "version"], cwd=tmp_path, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(times) < 0.1


@pytest.mark.process
def test_serve_without_its_secrets_ends_with_78_and_says_what_to_set(bare: Place) -> None:
    done = convoq("serve", "--config", str(bare.config), cwd=bare.directory)

    assert done.returncode == 78
    assert "convoq: twilio.auth_token is not set" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.process
def test_work_answers_people_by_the_rules_of_a_demo_only_with_its_flag(bare: Place) -> None:
    bare.configure(f'[twilio]\naccount_sid = "AC{32 * "a"}"\nauth_token = "{TOKEN}"\n[ai]\nmodel = "offline"\n')
    work = ("work", "--drain", "--config", str(bare.config))

    refused = convoq(*work, cwd=bare.directory)
    allowed = convoq(*work, "--allow-offline", cwd=bare.directory)

    assert (refused.returncode, refused.stderr) == (
        78,
        'convoq: ai.model: "offline" would answer people with the fixed rules of a demo. '
        'Name a model, like "openai:gpt-5-mini", or mean it: convoq work --allow-offline\n',
    )
    assert allowed.returncode == 0


@pytest.mark.process
def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(place: Place) -> None:
    place.prepare(lambda database: bury(database, [job(number=n) for n in range(400)], error="x" * 300))
    command = f"{sys.executable} -m convoq --config {place.config} jobs list --limit 400 --full | head -1"

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.process
def test_output_that_cannot_be_written_is_a_failure(place: Place) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "convoq", "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr == "convoq: cannot write the output: No space left on device\n"


def test_a_mistyped_command_names_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["staus"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "convoq: there is no 'staus'. Did you mean 'status'?"


def test_a_mistyped_subcommand_names_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "retri"]) == 2
    assert "Did you mean 'retry'?" in capsys.readouterr().err


def test_a_hostile_argument_is_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["\x1b]0;owned\x07"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_options_are_not_abbreviated() -> None:
    assert main(["--conf", "x", "version"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "missing.toml", "status"],
        ["status", "--config", "missing.toml"],
        ["jobs", "--config", "missing.toml", "list"],
        ["jobs", "list", "--config", "missing.toml"],
        ["config", "check", "--config", "missing.toml"],
        ["--config", "other.toml", "jobs", "list", "--config", "missing.toml"],
    ],
    ids=" ".join,
)
def test_config_is_taken_at_every_level(arguments: list[str], bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 78
    assert "missing.toml" in capsys.readouterr().err


READERS = [
    ["status"], ["jobs", "list"], ["jobs", "show", "1"], ["jobs", "retry", "1"], ["conversations", "list"],
    ["conversations", "show", "1"], ["conversations", "tail"], ["db", "check"], ["db", "backup", "x"],
    ["enqueue", "housekeeping"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_a_database_that_is_not_there_is_said_and_not_created(
    arguments: list[str], bare: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bare.run(*arguments) == 1
    words = f"convoq: no database at {bare.database} yet: start convoq serve, or run convoq db migrate\n"
    assert capsys.readouterr().err == words
    assert sorted(path.name for path in bare.directory.iterdir()) == ["convoq.toml"]


@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_an_older_schema_is_left_as_it_is(
    arguments: list[str], place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from convoq.db import migrations

    ours = migrations.known()[-1].version
    newer = [*migrations.known(), migrations.Migration(ours + 1, "more.sql", "CREATE TABLE more (one INTEGER);")]
    monkeypatch.setattr(migrations, "known", lambda: newer)

    assert place.run(*arguments) == 1
    assert f"has schema {ours}, this convoq has {ours + 1}" in capsys.readouterr().err
    monkeypatch.undo()
    assert place.execute("PRAGMA user_version") == [(ours,)]


@pytest.mark.parametrize("arguments", READERS[:6], ids=" ".join)
def test_reading_loads_neither_a_model_nor_twilio(arguments: list[str], place: Place) -> None:
    script = (
        "import sys; from convoq.cli import main; main(sys.argv[1:]);"
        "print(sorted({'twilio', 'pydantic_ai', 'openai', 'anthropic', 'aiohttp'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--config", str(place.config), *arguments],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip

    assert done.stderr.splitlines()[-1] == "[]"


def test_what_convoq_knows_about_ends_with_its_lines_and_its_code(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise DatabaseUnavailable("locked\nby \x1b[31msomebody")

    monkeypatch.setattr("convoq.cli.version.run", fail)

    assert main(["version"]) == 75
    assert capsys.readouterr().err == "convoq: locked\nconvoq: by \\x1b[31msomebody\n"


def test_an_unexpected_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bare: Place
) -> None:
    def fail(_: object) -> int:
        raise LookupError("first\nsecond")

    monkeypatch.setattr("convoq.cli.version.run", fail)

    assert main(["version"]) == 1
    words = "convoq: internal error: LookupError: first second (run with CONVOQ_DEBUG=1 for the traceback)\n"
    assert capsys.readouterr().err == words


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise LookupError

    monkeypatch.setattr("convoq.cli.version.run", fail)
    monkeypatch.setenv("CONVOQ_DEBUG", "1")

    with pytest.raises(LookupError):
        main(["version"])


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("convoq.cli.version.run", interrupt)

    assert main(["version"]) == 130


def test_no_secret_is_in_any_message(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bare.configure(f'[twilio]\nauth_token = "{TOKEN}"\naccount_sid = "nonsense"\n')

    assert bare.run("status") == 78
    assert bare.run("doctor", "--offline") == 1
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err


@pytest.mark.parametrize("port", ["-1", "65536", "x", "1.5"])
def test_a_port_that_is_none_is_wrong_usage(port: str) -> None:
    assert main(["serve", "--port", port]) == 2


def test_a_role_that_crashes_says_why_in_the_log(
    bare: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def crash(*_: object) -> None:
        raise LookupError("unforeseen")

    monkeypatch.setattr("convoq.daemon.schedule.schedule", crash)

    assert bare.run("schedule") == 1
    record = capsys.readouterr().err
    assert "role.crashed" in record
    assert "unforeseen" in record


def test_a_role_stopped_by_a_known_error_ends_with_its_code(bare: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop(*_: object) -> None:
        raise ConvoqError("stopped")

    monkeypatch.setattr("convoq.daemon.schedule.schedule", stop)

    assert bare.run("schedule") == 1


@pytest.mark.parametrize("arguments", [["status"], ["jobs", "list"], ["conversations", "list"]], ids=" ".join)
async def test_behind_a_frozen_process_a_command_ends_and_names_it(
    arguments: list[str], place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convoq.cli.session.GATE_TIMEOUT_SECONDS", 0.05)
    holder = await frozen(place.database)
    assert await asyncio.to_thread(place.run, *arguments) == 75
    assert f"process {holder.pid} (" in capsys.readouterr().err
    await continued(holder)
