"""A role says everything that it misses, how to set it and where to find it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convoq.daemon.personas import CurrentPersonas
from convoq.daemon.requirements import check_role, missing_for, require
from convoq.errors import ConfigError
from convoq.settings import Options
from convoq.settings.load import Loaded
from convoq.settings.problems import Missing, dotted

ACCOUNT = "AC" + 32 * "a"
TWILIO = {"account_sid": ACCOUNT, "auth_token": "token"}
MODEL = {"model": "llama", "base_url": "http://127.0.0.1/v1"}


def missing(role: Any, environ: dict[str, str] | None = None, **values: Any) -> list[str]:
    unmet = missing_for(Options.model_validate(values), role, environ=environ or {})
    return [dotted(one.setting) if isinstance(one, Missing) else str(one) for one in unmet]


def test_bare_serve_misses_its_url_account_and_token() -> None:
    assert missing("serve") == ["server.public_url", "twilio.account_sid", "twilio.auth_token"]


def test_schedule_misses_nothing() -> None:
    assert missing("schedule") == []


def test_one_of_several_tokens_is_enough_to_serve() -> None:
    twilio = {"account_sid": ACCOUNT, "auth_tokens": ["token"]}
    assert missing("serve", server={"public_url": "https://x.example"}, twilio=twilio) == []


def test_an_api_key_is_enough_to_send() -> None:
    twilio = {"account_sid": ACCOUNT, "api_key_sid": "SK" + 32 * "0", "api_key_secret": "s"}
    assert missing("work", twilio=twilio, ai=MODEL) == []


def test_bare_work_misses_account_token_and_model() -> None:
    assert missing("work") == ["twilio.account_sid", "twilio.auth_token", "ai.model"]


@pytest.mark.parametrize("model", ["openai:gpt-5-mini", "openai-responses:gpt-5-mini", "anthropic:claude-sonnet-4-5"])
def test_a_model_in_the_cloud_needs_a_key(model: str) -> None:
    assert missing("work", twilio=TWILIO, ai={"model": model}) == ["ai.api_key"]
    assert missing("work", twilio=TWILIO, ai={"model": model, "api_key": "k"}) == []
    assert missing("work", twilio=TWILIO, ai={"model": model, "base_url": "http://127.0.0.1/v1"}) == []


def test_the_providers_own_variable_is_a_key() -> None:
    assert missing("work", {"OPENAI_API_KEY": "k"}, twilio=TWILIO, ai={"model": "openai:gpt-5-mini"}) == []
    assert missing("work", {"OPENAI_API_KEY": "k"}, twilio=TWILIO, ai={"model": "anthropic:x"}) == ["ai.api_key"]


def test_a_fallback_in_the_cloud_needs_a_key_too() -> None:
    ai = {"model": "llama", "base_url": "http://127.0.0.1/v1", "fallback_model": "openai:gpt-5-mini"}
    assert missing("work", twilio=TWILIO, ai=ai) == ["ai.fallback_api_key"]
    assert missing("work", twilio=TWILIO, ai={**ai, "fallback_api_key": "k"}) == []
    assert missing("work", twilio=TWILIO, ai={**ai, "api_key": "of the other one"}) == ["ai.fallback_api_key"]


def test_the_token_of_anthropic_is_a_key() -> None:
    assert missing("work", {"ANTHROPIC_AUTH_TOKEN": "t"}, twilio=TWILIO, ai={"model": "anthropic:x"}) == []


def test_a_persona_of_another_provider_needs_a_key_of_its_own() -> None:
    asked: dict[str, Any] = {
        "twilio": TWILIO,
        "ai": {"model": "openai:gpt", "api_key": "k"},
        "personas": [{"name": "a", "model": "anthropic:x"}],
    }
    assert missing("work", **asked) == ["ANTHROPIC_API_KEY"]
    assert missing("work", {"ANTHROPIC_API_KEY": "k"}, **asked) == []


def test_a_key_for_several_providers_is_told() -> None:
    personas = [{"name": name, "model": model} for name, model in (("default", "openai:a"), ("b", "anthropic:b"))]
    [line] = missing("work", twilio=TWILIO, ai={"api_key": "k"}, personas=personas)
    assert line.startswith("ai.api_key: would be sent to the providers of")


def test_personas_with_a_mind_of_their_own_need_no_model() -> None:
    personas = [{"name": "a", "agent": "m:a"}, {"name": "default", "model": "llama"}]
    ai = {"base_url": MODEL["base_url"]}
    assert missing("work", twilio=TWILIO, ai=ai, personas=personas) == []
    assert missing("work", twilio=TWILIO, ai=ai, personas=[*personas, {"name": "c"}]) == ["ai.model"]


def test_numbers_that_only_the_default_persona_answers_need_a_model() -> None:
    assert missing("work", twilio=TWILIO, personas=[{"name": "a", "agent": "m:a"}]) == ["ai.model"]


def test_an_api_key_is_needed_whole_and_only_to_work() -> None:
    half = {"account_sid": TWILIO["account_sid"], "auth_token": "t", "api_key_sid": f"SK{32 * '0'}"}
    assert missing("work", twilio=half, ai=MODEL) == ["twilio.api_key_secret"]
    assert missing("schedule", twilio=half) == []


def test_a_model_without_provider_or_endpoint_is_explained() -> None:
    [line] = missing("work", twilio=TWILIO, ai={"model": "gpt-5-mini"})
    assert line == 'ai.model: "gpt-5-mini" names no provider. Write it like "openai:gpt-5-mini", or set ai.base_url'


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ai": {"model": "offline"}}, "ai.model"),
        ({"ai": MODEL, "personas": [{"name": "shop", "model": "offline"}]}, "personas.shop.model"),
    ],
)
def test_the_rules_of_a_demo_answer_people_only_where_that_is_allowed(settings: dict[str, Any], named: str) -> None:
    options = Options.model_validate({"twilio": TWILIO, **settings})
    assert [str(unmet) for unmet in missing_for(options, "work", environ={})] == [
        f'{named}: "offline" would answer people with the fixed rules of a demo. '
        'Name a model, like "openai:gpt-5-mini", or mean it: convoq work --allow-offline'
    ]
    assert missing_for(options, "work", environ={}, allow_offline=True) == []


def test_the_rules_of_a_demo_answer_at_a_twilio_on_this_machine() -> None:
    twilio = {**TWILIO, "api_base_url": "http://127.0.0.1:8025"}
    assert missing("work", twilio=twilio, ai={"model": "offline"}) == []


def test_require_raises_a_line_for_each() -> None:
    with pytest.raises(ConfigError) as caught:
        require(Options(), "serve", environ={})
    assert caught.value.exit_code == 78
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("Set public_url in [server] of convoq.toml, or CONVOQ_SERVER__PUBLIC_URL")


@pytest.mark.parametrize(
    ("missing", "secret", "text"),
    [
        (
            Missing(("twilio", "auth_token"), "webhooks are signed with it", "in the console"),
            True,
            "twilio.auth_token is not set: webhooks are signed with it; in the console. "
            "Set auth_token in [twilio] of convoq.toml, or CONVOQ_TWILIO__AUTH_TOKEN; "
            "for a unit /etc/credstore/convoq.twilio__auth_token",
        ),
        (
            Missing(("ai", "model"), "the model"),
            False,
            "ai.model is not set: the model. Set model in [ai] of convoq.toml, or CONVOQ_AI__MODEL",
        ),
        (
            Missing(("OPENAI_API_KEY",), "the key"),
            True,
            "OPENAI_API_KEY is not set: the key. Set OPENAI_API_KEY in the environment of convoq work",
        ),
    ],
)
def test_what_is_missing_says_where_to_set_it(missing: Missing, secret: bool, text: str) -> None:
    assert (missing.secret, str(missing)) == (secret, text)


@pytest.mark.parametrize(
    ("model", "currency", "problem"),
    [
        ("openai:gpt-9", "USD", 'what "openai:gpt-9" costs is not known, so'),
        ("openai:gpt-5-mini", "EUR", 'what "openai:gpt-5-mini" costs is not known but in USD, so'),
    ],
)
def test_a_ceiling_in_money_needs_a_price_for_each_model(model: str, currency: str, problem: str) -> None:
    ai = {"model": model, "api_key": "k"}
    budgets = {"cost_per_number_day": 5, "currency": currency}
    [said] = missing("work", twilio=TWILIO, ai=ai, budgets=budgets)
    assert said.startswith(f"ai.model: {problem}")

    price = {"model": model, "input": 0, "output": 0}
    assert missing("work", twilio=TWILIO, ai=ai, budgets=budgets, prices=[price]) == []


@pytest.fixture
def own_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """Settings with an agent of the user's own, whose model nobody else names."""
    monkeypatch.delitem(sys.modules, "priced_bot", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = "from pydantic_ai import Agent\nfrom pydantic_ai.models.test import TestModel\nagent = Agent(TestModel())\n"
    (tmp_path / "priced_bot.py").write_text(code)

    def settings(**given: Any) -> Loaded:
        own = {"ai": {"model": "offline"}, "personas": [{"name": "shop", "agent": "priced_bot:agent"}]}
        return Loaded(Options.model_validate(own | given), tmp_path / "convoq.toml", {})

    return settings


UNPRICED = (
    'personas.shop.agent "priced_bot:agent": what "test:test" costs is not known, so no ceiling in money ([budgets]) '
    "can hold. Give it a price in USD in [[prices]]; 0 where it costs nothing"
)
BUDGETS = {"cost_per_contact_day": 1}
FREE = [{"model": "test:test", "input": 0, "output": 0}]


def test_a_ceiling_in_money_needs_a_price_for_the_model_of_an_own_agent(own_agent: Callable[..., Loaded]) -> None:
    found = [str(unmet) for unmet in check_role(own_agent(budgets=BUDGETS, twilio=TWILIO), "work", allow_offline=True)]
    assert found == [UNPRICED]
    for given in ({"budgets": BUDGETS, "prices": FREE}, {"budgets": {"tokens_per_contact_day": 5000}}, {}):
        assert check_role(own_agent(twilio=TWILIO, **given), "work", allow_offline=True) == []


async def test_the_worker_does_not_start_with_an_own_agent_that_costs_what_nobody_knows(
    own_agent: Callable[..., Loaded],
) -> None:
    personas = CurrentPersonas(own_agent(budgets=BUDGETS))
    with pytest.raises(ConfigError, match="test:test"):
        await personas.warm()
    await personas.responder.close()


async def test_a_reload_takes_no_own_agent_that_costs_what_nobody_knows(own_agent: Callable[..., Loaded]) -> None:
    personas = CurrentPersonas(own_agent(personas=[], budgets=BUDGETS))
    await personas.warm()
    with pytest.raises(ConfigError, match="test:test"):
        await personas.prepare(own_agent(budgets=BUDGETS))
    await personas.responder.close()
