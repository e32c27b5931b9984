"""`convoq init`: writes a convoq.toml to start from, and creates the database beside it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convoq.cli.terminal.output import is_interactive, say
from convoq.errors import ConfigError, ConvoqError

if TYPE_CHECKING:
    from convoq.settings import AiSettings


PROMPT_FILE: Final = "prompt.md"


class Question(NamedTuple):
    """Something that is worth asking for."""

    setting: str
    text: str
    secret: bool = False  #: what is typed is not shown


QUESTIONS: Final = (
    Question("twilio.account_sid", "Twilio account SID (AC..., first page of console.twilio.com)"),
    Question("twilio.auth_token", "Its auth token (below the SID; not shown here)", secret=True),
    Question("server.public_url", "The https address under which Twilio reaches this machine"),
    Question("ai.model", 'Model, e.g. "openai:gpt-5-mini"'),
    Question("ai.api_key", "The key of the model's provider (not shown here)", secret=True),
)


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "init",
        help="write a convoq.toml to start from, and create the database",
        description="Writes a convoq.toml with every option explained, readable for you alone, and beside it,\n"
        "where they are not there yet, a prompt.md for your own words and the database. On a\n"
        "terminal it asks for the five settings that matter; Enter skips one.",
        epilog="examples:\n  convoq init\n  convoq init /etc/convoq --no-input",
    )
    parser.add_argument("path", nargs="?", type=Path, default=Path("convoq.toml"), metavar="PATH",
                        help="the file, or a directory for it (default: ./convoq.toml)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--no-input", action="store_true", help="ask nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq.settings.reference import example

    path: Path = args.path / "convoq.toml" if args.path.is_dir() else args.path
    if os.path.lexists(path) and not args.force:
        raise ConvoqError(f"{path}: is there already: edit it, or replace it with --force")
    answers = {} if args.no_input or not is_interactive() else _ask()
    text = filled_in(example(), "ai.prompt_file", PROMPT_FILE)
    for setting, answer in answers.items():
        text = filled_in(text, setting, answer)
    _write(path, text, mode=0o600)
    _write_prompt(path.parent / PROMPT_FILE)
    print(path)
    _create_database(path)
    for line in _next_steps(path, answers):
        say(line)
    return 0


def _ask() -> dict[str, str]:
    """The answers by setting, without those that were skipped; each is asked for until it is valid."""
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        while True:
            answer = _answer(question)
            if not answer:
                break
            wrong = problem_with(question.setting, answer)
            if wrong is None:
                answers[question.setting] = answer
                break
            say(f"  {wrong}")
    return answers


def _answer(question: Question) -> str:
    """The line that is typed after the prompt; the terminal shows nothing of a secret."""
    if not question.secret:
        return _prompted(question.text)
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    # Before the prompt: an answer that is pasted as soon as that is seen must not be shown either.
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        return _prompted(question.text)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        print(file=sys.stderr)


def _prompted(text: str) -> str:
    print(f"{text}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def problem_with(setting: str, answer: str) -> str | None:
    """Why the answer can't be the value of the setting."""
    from convoq.settings.load import load

    try:
        ai = load(environ={}, overrides={setting: answer}, searched=()).options.ai
        if setting == "ai.model":
            _check_model(ai)
    except ConfigError as error:
        # Where it was set is no help right after it was typed.
        return str(error).splitlines()[0].removeprefix("flag: ").removeprefix(f"{setting}: ")
    return None


def _check_model(ai: AiSettings) -> None:
    """Raises ConfigError for a model that no provider is known for. Nothing is asked, so any key will do."""
    from pydantic import SecretStr

    from convoq.ai import build_responder

    build_responder(ai.model_copy(update={"api_key": SecretStr("later")}), (), base_dir=Path.cwd()).check()


def filled_in(text: str, setting: str, value: str) -> str:
    """The example with one setting switched on."""
    section, _, option = setting.partition(".")
    head, mark, rest = text.partition(f"\n[{section}]\n")
    line = f"{option} = {json.dumps(value)}"
    changed, found = re.subn(rf"(?m)^#?{option} = .*$", lambda _: line, rest, count=1)
    if not mark or not found:
        raise ConvoqError(f"the example has no {setting}")
    return head + mark + changed


def _write_prompt(path: Path) -> None:
    """Where to say whom the AI speaks for, unless that was said already."""
    from convoq.ai.prompt import PROMPT_TEMPLATE

    if not os.path.lexists(path):
        _write(path, PROMPT_TEMPLATE, mode=0o644)


def _write(path: Path, text: str, *, mode: int) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        # What mkdir says of a file in the directory's place is that it exists.
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise ConvoqError(f"cannot write {path}: {reason}") from error


def _create_database(config: Path) -> None:
    """The one that the file names beside it, unless there is one, or a trace of one: that is for `convoq db migrate`.

    One that belongs elsewhere belongs to the user of the service, and the first role creates it.
    """
    from convoq.cli.session import create_or_migrate
    from convoq.db import OpenMode
    from convoq.settings.load import load

    settings = load(config).options.database
    database = settings.path.absolute()
    if settings.url is None and database.parent == config.absolute().parent and not database.exists():
        create_or_migrate(settings, OpenMode.ROLE)
        say(f"created the database: {database}")


def _next_steps(path: Path, answers: dict[str, str]) -> list[str]:
    from convoq.channels.twilio.webhooks import console_url
    from convoq.settings.sources import SEARCHED

    flag = "" if path.absolute() in [searched.absolute() for searched in SEARCHED] else f" --config {path}"
    base = answers.get("server.public_url", "https://YOUR-HOST")
    missing = [question.setting for question in QUESTIONS if question.setting not in answers]
    put = f"Put into {path}: {', '.join(missing)}" if missing else f"All that it needs is in {path}"
    return [
        "",
        "Next:",
        f"  1. Say in {path.parent / PROMPT_FILE} whom the AI speaks for and what it knows",
        f"  2. {put}",
        "     (secrets may also be variables, e.g. CONVOQ_TWILIO__AUTH_TOKEN)",
        f"  3. Look what is still missing: convoq doctor{flag}",
        "  4. In the Twilio console, as the number's webhook for incoming messages (POST):",
        f"     {console_url(base)}",
        f"  5. Start the three roles: convoq serve{flag}, convoq schedule{flag}, convoq work{flag}",
        "To write to it yourself first, without an account: convoq dev",
    ]
