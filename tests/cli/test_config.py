"""`convoq config`: what it prints, how it ends, and that no secret comes out of it."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

import pytest

from convoq.cli.config import add_parser
from convoq.errors import ConfigError
from convoq.settings.reference import example, reference

CANARY = "canary-7f3a9c"
WHOLE = f"""\
[server]
public_url = "https://bot.example.com"
[twilio]
account_sid = "AC{32 * "a"}"
auth_token = "{CANARY}"
auth_tokens = ["{CANARY}"]
api_key_sid = "SK{32 * "a"}"
api_key_secret = "{CANARY}"
[ai]
model = "openai:gpt-5-mini"
api_key = "{CANARY}"
fallback_api_key = "{CANARY}"
[[schedules]]
name = "n"
kind = "k.k"
every = 5
payload = {{ api_key = "{CANARY}", nested = [{{ password = 12 }}], text = "fine" }}
[handlers]
"k.k" = "config_handlers:jobs.note"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CONVOQ_CONFIG", "CREDENTIALS_DIRECTORY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config_handlers.py").write_text("class jobs:\n    async def note(job): ...\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "convoq.toml"
    file.write_text(WHOLE)
    file.chmod(0o600)
    return file


def run(config: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["config", *arguments])
    args.config = config
    code: int = args.run(args)
    return code


def test_check_says_ok_for_the_file_and_each_role(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "check") == 0
    assert capsys.readouterr().out.splitlines() == [f"{config}: ok", "serve: ok", "schedule: ok", "work: ok"]


def test_check_names_the_roles_that_miss_something(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("[ai]\nmodel = 'offline'\n")
    with pytest.raises(ConfigError) as caught:
        run(config, "check")
    assert caught.value.exit_code == 78
    starts = [line.split(" is not set")[0] for line in str(caught.value).splitlines()]
    assert starts[:2] == ["serve: server.public_url", "serve, work: twilio.account_sid"]
    assert capsys.readouterr().out.splitlines()[1:] == ["schedule: ok"]


def test_check_of_one_role_asks_for_no_more(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("")
    assert run(config, "check", "schedule") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["schedule: ok"]


def test_check_of_an_unknown_role_is_a_usage_error(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(config, "check", "server")
    assert caught.value.code == 2
    assert "no such role: 'server' (one of serve, schedule, work)" in capsys.readouterr().err


def test_a_broken_file_is_a_config_error(config: Path) -> None:
    config.write_text("[work]\nconcurency = 3\n")
    with pytest.raises(ConfigError, match=r"convoq\.toml:2: work\.concurency: unknown setting"):
        run(config, "show")


@pytest.mark.parametrize(
    "arguments", [["show"], ["show", "--origin"], ["show", "--json"], ["show", "--json", "--origin"]]
)
def test_show_holds_no_secret(config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(config, *arguments) == 0
    out = capsys.readouterr().out
    assert CANARY not in out
    assert "***" in out


def test_show_prints_toml_that_says_what_is_in_force(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(config, "show", "--origin")
    out = capsys.readouterr().out
    shown = tomllib.loads(out)
    assert shown["server"]["public_url"] == "https://bot.example.com"
    assert shown["twilio"]["api_key_sid"] == "SK" + 32 * "a"
    assert shown["twilio"]["auth_tokens"] == ["***"]
    assert shown["schedules"][0]["payload"] == {"api_key": "***", "nested": [{"password": "***"}], "text": "fine"}
    assert shown["handlers"] == {"k.k": "config_handlers:jobs.note"}
    [line] = [line for line in out.splitlines() if line.startswith("public_url")]
    assert line.endswith(f"# {config}:2")
    [line] = [line for line in out.partition("[server]")[2].partition("\n[")[0].splitlines() if line.startswith("port")]
    assert line.split() == ["port", "=", "8080", "#", "default"]


def test_show_json_tells_values_and_origins(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOQ_WORK__CONCURRENCY", "3")
    run(config, "show", "--json", "--origin")
    shown = json.loads(capsys.readouterr().out)
    assert shown["file"] == str(config)
    assert shown["settings"]["work"]["concurrency"] == 3
    assert shown["origins"]["work.concurrency"] == "CONVOQ_WORK__CONCURRENCY"
    assert shown["origins"]["schedules[0].every"] == f"{config}:16"


def test_example_and_reference_are_printed_as_they_are(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "example") == 0
    assert capsys.readouterr().out == example()
    assert run(config, "reference") == 0
    assert capsys.readouterr().out == reference()


TO_WORK = f"[twilio]\naccount_sid = 'AC{32 * 'a'}'\nauth_token = 't'\napi_base_url = 'http://127.0.0.1:9'\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[ai]\nmodel = 'foo:bar'", 'work: ai.model "foo:bar": no provider is called "foo"'),
        ("[ai]\nmodel = 'groq:llama'\napi_key = 'k'", 'work: ai.model "groq:llama": Please install'),
        ("[ai]\nmodel = 'openai:x'\napi_key = 'k'\nfallback_model = 'anthropic:y'", "work: ai.fallback_api_key is not"),
        (
            "[ai]\nmodel = 'openai:x'\napi_key = 'k'\n[[personas]]\nname = 'a'\nmodel = 'anthropic:y'",
            "work: ANTHROPIC_API_KEY is not set",
        ),
        (
            "[ai]\nmodel = 'offline'\n[[personas]]\nname = 'a'\nagent = 'no_such_bot:agent'",
            'work: personas.a.agent "no_such_bot:agent": cannot be imported: ModuleNotFoundError',
        ),
        (
            "[ai]\nmodel = 'offline'\n[handlers]\n'a.b' = 'no_such_shop:note'",
            'work: handlers.a.b: "no_such_shop:note" cannot be imported: ModuleNotFoundError',
        ),
    ],
)
def test_check_refuses_what_the_worker_refuses(config: Path, text: str, told: str) -> None:
    config.write_text(TO_WORK + text)
    with pytest.raises(ConfigError) as caught:
        run(config, "check", "work")
    [line] = str(caught.value).splitlines()
    assert line.startswith(told)
