"""The doctor's checks of the settings."""

from __future__ import annotations

import pytest

from convoq.ai.prompt import PROMPT_TEMPLATE
from tests.cli.doctor.harness import findings, whole
from tests.cli.scenes import Place, announce


def test_every_mistake_in_the_settings_is_a_failure(
    bare: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare.configure("[server]\nprt = 1\n")
    monkeypatch.setenv("CONVOQ_DATABSE__PATH", "x")

    assert bare.run("doctor", "--offline") == 1

    out = capsys.readouterr().out
    assert 'convoq.toml:2: server.prt: unknown setting. Did you mean "port"?' in out
    assert "CONVOQ_DATABSE__PATH" in out
    assert "SQLite" in out


def test_the_rules_of_a_demo_are_a_failure_until_a_worker_runs_that_was_allowed_them(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(whole(twilio="https://api.twilio.com"))
    needs = findings(place, capsys, code=1)["needs"]
    assert (needs["level"], needs["detail"][:25]) == ("fail", 'work: ai.model: "offline"')

    place.prepare(announce)
    assert findings(place, capsys, code=0)["needs"]["level"] == "ok"


def test_what_a_role_misses_is_a_failure_but_a_secret_may_be_elsewhere(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(whole().replace("auth_token", "#auth_token"))
    assert findings(place, capsys, code=0)["needs"]["level"] == "warn"

    place.prepare(announce)
    assert findings(place, capsys, code=0)["needs"]["level"] == "note"

    place.configure(whole(model="openai:x", ai="api_key = 'k'") + "model = 'anthropic:y'\n")
    needs = findings(place, capsys, code=0)["needs"]
    assert (needs["level"], needs["detail"]) == (
        "note",
        "work: ANTHROPIC_API_KEY is not set for this command; the running work has it",
    )

    place.configure(whole().replace("public_url", "#public_url"))
    needs = findings(place, capsys, code=1)["needs"]
    assert (needs["level"], needs["detail"][:34]) == ("fail", "serve: server.public_url is not se")
    assert "CONVOQ_SERVER__PUBLIC_URL" in needs["fix"]


def test_a_model_that_was_told_nothing_of_the_business_is_a_warning(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(whole(model="openai:x", ai="api_key = 'k'"))
    assert findings(place, capsys)["prompt"]["fix"] == "say it in a file: ai.prompt_file"

    (place.directory / "prompt.md").write_text(PROMPT_TEMPLATE)
    place.configure(whole(model="openai:x", ai="api_key = 'k'\nprompt_file = 'prompt.md'"))
    assert findings(place, capsys)["prompt"]["detail"].endswith('says "(write it here)" in 5 places')

    (place.directory / "prompt.md").write_text("You sell bikes.")
    assert "prompt" not in findings(place, capsys)


def test_the_demos_rules_need_no_prompt(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    assert "prompt" not in findings(place, capsys)
