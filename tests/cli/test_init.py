"""`convoq init`: a file that its owner alone can read, and never lost to a second run."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from convoq.ai.persona import read_personas
from convoq.ai.prompt import DEFAULT_PROMPT
from convoq.cli.init import QUESTIONS, Question, filled_in, problem_with
from convoq.settings.load import load
from convoq.settings.reference import example
from tests.cli.scenes import ACCOUNT, Place


def test_the_file_is_private_and_valid(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("init", "new.toml") == 0

    printed = capsys.readouterr()
    assert printed.out == "new.toml\n"
    assert "/twilio/inbound#rc=5&rp=all&ct=2000&rt=4000" in printed.err
    assert Path("new.toml").stat().st_mode & 0o777 == 0o600
    options = load(Path("new.toml"), environ={}).options
    assert options.ai.prompt_file == bare.directory / "prompt.md"
    defaults = load(bare.config, environ={}).options
    assert options.model_copy(update={"ai": defaults.ai}) == defaults


def test_a_file_that_is_there_is_kept(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bare.configure("# mine\n")

    assert bare.run("init") == 1
    assert "is there already" in capsys.readouterr().err
    assert bare.config.read_text() == "# mine\n"

    assert bare.run("init", "--force") == 0
    assert bare.config.read_text() == filled_in(example(), "ai.prompt_file", "prompt.md")


def test_the_business_has_a_place_for_its_own_words(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("init", "--force") == 0

    options = load(bare.config, environ={}).options
    [persona] = read_personas(options.ai, options.personas, bare.directory).values()
    assert persona.prompt == Path("prompt.md").read_text().strip()
    assert persona.prompt.startswith(DEFAULT_PROMPT)
    assert "  1. Say in prompt.md whom the AI speaks for" in capsys.readouterr().err


def test_words_that_are_there_are_kept(bare: Place) -> None:
    Path("prompt.md").write_text("You sell bikes.")

    assert bare.run("init", "--force") == 0
    assert Path("prompt.md").read_text() == "You sell bikes."


def test_into_a_directory_it_is_named_convoq_toml(bare: Place) -> None:
    Path("etc").mkdir()

    assert bare.run("init", "etc") == 0
    assert Path("etc/convoq.toml").exists()


def test_a_place_that_cannot_be_written_is_one_line(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("init", "/proc/convoq.toml") == 1
    assert capsys.readouterr().err.startswith("convoq: cannot write /proc/convoq.toml: ")


@pytest.mark.parametrize("path", ["plain/convoq.toml", "plain/sub/convoq.toml"])
def test_a_file_in_the_place_of_the_directory_is_one_line(
    path: str, bare: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (bare.directory / "plain").write_text("a file")
    assert bare.run("init", path) == 1
    assert capsys.readouterr().err == f"convoq: cannot write {path}: Not a directory\n"


def answered(place: Place, *answers: tuple[str, str]) -> str:
    """Runs `convoq init new.toml` on a terminal and types each answer after its prompt; returns what was to be seen."""
    ours, theirs = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CONVOQ_")}
    seen = ""
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "convoq", "init", "new.toml"],
            cwd=place.directory, env=environ, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            for prompt, answer in answers:
                fresh = ""
                while not (prompt in fresh and fresh.endswith(": ")):
                    assert select.select([ours], [], [], 20)[0], f"no prompt {prompt!r} in {seen + fresh!r}"
                    fresh += os.read(ours, 4096).decode()
                seen += fresh
                os.write(ours, answer.encode() + b"\n")
            assert process.wait(20) == 0
        return seen + os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.process
def test_a_person_is_asked_for_each_of_the_five_until_the_answer_is_valid(bare: Place) -> None:
    seen = answered(
        bare,
        ("account SID", "nonsense"), ("account SID", ACCOUNT), ("auth token", "canary-token"),
        ("https address", "bot.example.com"), ("https address", "https://bot.example.com"),
        ("Model", "gpt-5-mini"), ("Model", "opnai:gpt-5-mini"), ("Model", "openai:gpt-5-mini"), ("key", "canary-key"),
    )  # fmt: skip

    values = tomllib.loads(Path("new.toml").read_text())
    assert values["twilio"] == {"account_sid": ACCOUNT, "auth_token": "canary-token"}
    assert values["server"] == {"public_url": "https://bot.example.com"}
    assert values["ai"] == {"model": "openai:gpt-5-mini", "api_key": "canary-key", "prompt_file": "prompt.md"}
    assert "must be AC and 32 of the characters" in seen
    assert '"gpt-5-mini" names no provider' in seen
    assert "opnai:gpt-5-mini" in seen
    assert "canary" not in seen


@pytest.mark.process
def test_a_question_may_be_skipped(bare: Place) -> None:
    seen = answered(bare, *((prompt, "") for prompt in ("account SID", "auth token", "https", "Model", "key")))

    assert Path("new.toml").read_text() == filled_in(example(), "ai.prompt_file", "prompt.md")
    assert "twilio.account_sid, twilio.auth_token, server.public_url, ai.model, ai.api_key" in seen


@pytest.mark.parametrize(
    ("model", "words"),
    [("openai:gpt-5-mini", None), ("anthropic:claude-sonnet-4-5", None), ("gpt-5-mini", "names no provider"),
     ("opnai:gpt-5-mini", "opnai")],
)  # fmt: skip
def test_a_models_name_is_checked(model: str, words: str | None) -> None:
    wrong = problem_with("ai.model", model)
    assert wrong is None if words is None else words in (wrong or "")


@pytest.mark.parametrize("arguments", [["--no-input"], []])
def test_nothing_is_asked_without_a_terminal(
    arguments: list[str], bare: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(ACCOUNT))

    assert bare.run("init", "new.toml", *arguments) == 0
    assert tomllib.loads(Path("new.toml").read_text())["twilio"] == {}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.setting)
def test_every_question_has_its_place_in_the_example(question: Question) -> None:
    section, _, option = question.setting.partition(".")

    assert tomllib.loads(filled_in(example(), question.setting, 'x"\\1'))[section][option] == 'x"\\1'


def test_an_answer_is_judged_as_the_file_will_be() -> None:
    assert problem_with("server.public_url", "https://bot.example.com") is None
    assert problem_with("server.public_url", "http//bot.example.com") == "must start with https:// and a host"


def test_it_creates_the_database_beside_the_new_file(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("init", "--force") == 0
    assert f"created the database: {bare.database}\n" in capsys.readouterr().err
    assert bare.database.stat().st_size > 0


def test_a_database_that_belongs_elsewhere_is_left_to_the_roles(
    bare: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONVOQ_DATABASE__PATH", str(tmp_path / "var" / "convoq.db"))
    assert bare.run("init", "--force") == 0
    assert sorted(path.name for path in bare.directory.iterdir()) == ["convoq.toml", "prompt.md"]


def test_it_creates_no_database_where_one_was_lost(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("init", "--force") == 0
    bare.database.unlink()
    assert bare.run("init", "--force") == 78
    assert "convoq.db: is missing, but convoq.db.run beside it shows" in capsys.readouterr().err
    assert not bare.database.exists()
