"""`convoq init`: a file that its owner alone can read, and never lost to a second run."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import pytest

from convoq.cli.init import QUESTIONS, filled_in, problem_with
from convoq.settings.load import load
from convoq.settings.reference import example
from tests.cli.scenes import ACCOUNT, Place


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_file_is_private_and_valid(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("init", "new.toml") == 0

    printed = capsys.readouterr()
    assert printed.out == "new.toml\n"
    assert "/twilio/inbound#rc=5&rp=all&ct=2000&rt=4000" in printed.err
    assert Path("new.toml").stat().st_mode & 0o777 == 0o600
    assert load(Path("new.toml"), environ={}).options == load(bare.config, environ={}).options


def test_a_file_that_is_there_is_kept(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bare.configure("# mine\n")

    assert bare.run("init") == 1
    assert "is there already" in capsys.readouterr().err
    assert bare.config.read_text() == "# mine\n"

    assert bare.run("init", "--force") == 0
    assert bare.config.read_text() == example()


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


def test_a_person_is_asked_until_the_answer_is_valid(bare: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    answers = f"nonsense\n{ACCOUNT}\nbot.example.com\nhttps://bot.example.com\n\n"
    monkeypatch.setattr("sys.stdin", Terminal(answers))
    monkeypatch.setattr("sys.stderr", terminal)

    assert bare.run("init", "new.toml") == 0

    values = tomllib.loads(Path("new.toml").read_text())
    assert values["twilio"] == {"account_sid": ACCOUNT}
    assert values["server"] == {"public_url": "https://bot.example.com"}
    assert "model" not in values["ai"]
    assert "must be AC and 32 of the characters" in terminal.getvalue()


@pytest.mark.parametrize("arguments", [["--no-input"], []])
def test_nothing_is_asked_without_a_terminal(
    arguments: list[str], bare: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(ACCOUNT))

    assert bare.run("init", "new.toml", *arguments) == 0
    assert tomllib.loads(Path("new.toml").read_text())["twilio"] == {}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.setting)
def test_every_question_has_its_place_in_the_example(question: object) -> None:
    setting = str(getattr(question, "setting"))  # noqa: B009
    section, _, option = setting.partition(".")

    assert tomllib.loads(filled_in(example(), setting, 'x"\\1'))[section][option] == 'x"\\1'


def test_an_answer_is_judged_as_the_file_will_be() -> None:
    assert problem_with("server.public_url", "https://bot.example.com") is None
    assert "https" in (problem_with("server.public_url", "http://bot.example.com") or "")
