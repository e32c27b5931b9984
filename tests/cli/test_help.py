"""Help pages: each command's own, and the right one named by each complaint about usage."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from convoq import __version__
from convoq.cli import main
from convoq.cli.parser import GROUPS, build_parser

COMMANDS = [command for group in GROUPS.values() for command in group]


def parser_of(path: tuple[str, ...]) -> argparse.ArgumentParser:
    parser = build_parser(path)
    for name in path:
        parser = subcommands(parser)[name]
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def pages(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [path, *(page for name in subcommands(parser_of(path)) for page in pages((*path, name)))]


PAGES = [page for command in COMMANDS for page in pages((command.name,))]
LEAVES = [page for page in PAGES if not subcommands(parser_of(page))]


@pytest.mark.parametrize("page", [(), *PAGES], ids=" ".join)
def test_a_help_page_names_each_option_of_its_command(
    page: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*page, "-h"]) == 0

    text = capsys.readouterr().out
    assert text.startswith(f"usage: {' '.join(('convoq', *page))} [-h]")
    options = [option for action in parser_of(page)._actions for option in action.option_strings]
    assert [option for option in options if f" {option}" not in text.partition("\n\n")[2]] == []


@pytest.mark.parametrize("page", [(), *PAGES], ids=" ".join)
def test_a_help_page_names_each_command_below_it(page: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*page, "-h"]) == 0

    listed = {words[0] for line in capsys.readouterr().out.splitlines() if (words := line.split())}
    assert set(subcommands(parser_of(page))) <= listed


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
def test_a_help_page_shows_an_example_of_its_command(leaf: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*leaf, "-h"]) == 0
    examples = capsys.readouterr().out.partition("\nexample")[2]
    assert f"convoq {' '.join(leaf)}" in examples


@pytest.mark.process
def test_the_installed_command_shows_the_page_of_a_subcommand(tmp_path: Path) -> None:
    convoq = Path(sys.executable).with_name("convoq")

    done = subprocess.run(
        [convoq, "jobs", "list", "-h"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout.startswith("usage: convoq jobs list [-h]")


def test_without_arguments_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    page = capsys.readouterr().out

    assert main([]) == 0
    assert capsys.readouterr().out == page


def test_the_version_is_also_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"convoq {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words", "page"),
    [
        (["jobs"], "required: COMMAND", "convoq jobs -h"),
        (["jobs", "list", "--bogus"], "unrecognized arguments: --bogus", "convoq jobs list -h"),
        (["jobs", "list", "--limt=3"], "Did you mean --limit?", "convoq jobs list -h"),
        (["jobs", "list", "--state", "x"], "'x'", "convoq jobs list -h"),
        (["jobs", "list", "extra"], "unrecognized arguments: extra", "convoq jobs list -h"),
        (["jobs", "lst"], "Did you mean 'list'?", "convoq jobs -h"),
        (["serve", "--port", "x"], "'x' is not a port", "convoq serve -h"),
        (["staus"], "Did you mean 'status'?", "convoq -h"),
        (["--bogus", "jobs", "list"], "unrecognized arguments: --bogus", "convoq -h"),
    ],
    ids=str,
)
def test_a_complaint_about_usage_names_the_page_of_its_command(
    arguments: list[str], words: str, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    complaint, hint = capsys.readouterr().err.splitlines()
    assert words in complaint
    assert hint == f"Try: {page}"
