"""Building the responder: personas are checked before anything starts, and stay light until a model is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convoq.ai import build_responder
from convoq.ai.endpoints import fallback_endpoint, main_endpoint, persona_endpoint
from convoq.errors import ConfigError
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.settings import AiSettings, PersonaSettings
from tests.ai.conftest import Build, Conversation


async def test_without_a_model_the_demo_answers(build: Build, conversation: Conversation) -> None:
    assert (await build().reply(conversation.context("hello"))).model == "offline"
    assert (await build(model="offline").reply(conversation.context("hello"))).model == "offline"


async def test_each_persona_answers_with_its_own_prompt_and_model(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    (tmp_path / "bikes.txt").write_text("﻿You rent out bikes.\n", encoding="utf-8")
    personas = [
        PersonaSettings(name="bikes", prompt_file=Path("bikes.txt")),
        PersonaSettings(name="cars", model="bigger"),
        PersonaSettings(name="demo", model="offline"),
    ]
    responder = build(personas, model="qwen", base_url=model.base_url)
    replies = [await responder.reply(conversation.context("hi", persona=p.name)) for p in personas]
    assert [reply.model for reply in replies] == ["qwen", "bigger", "offline"]
    assert model.requests[0].system.startswith("You rent out bikes.\n")
    assert model.requests[1].body["model"] == "bigger"


async def test_a_persona_without_a_prompt_speaks_with_the_one_of_the_business(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    (tmp_path / "prompt.md").write_text("You sell bikes.")
    (tmp_path / "own.md").write_text("You rent out boats.")
    personas = [PersonaSettings(name="bikes"), PersonaSettings(name="boats", prompt_file=Path("own.md"))]
    responder = build(personas, model="qwen", base_url=model.base_url, prompt_file=Path("prompt.md"))
    for persona in ("default", "bikes", "boats"):
        await responder.reply(conversation.context("hi", persona=persona))
    assert [request.system.splitlines()[0] for request in model.requests] == [
        "You sell bikes.", "You sell bikes.", "You rent out boats.",
    ]  # fmt: skip


async def test_an_unknown_persona_answers_as_the_default(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("You are Default.")
    personas = [PersonaSettings(name="default", prompt_file=Path("p.txt"))]
    responder = build(personas, model="qwen", base_url=model.base_url)
    await responder.reply(conversation.context("hi", persona="removed last week"))
    assert model.requests[0].system.startswith("You are Default.")


@pytest.mark.parametrize(
    ("ai", "message"),
    [
        ({"model": "gpt-5"}, 'ai.model: "gpt-5" names no provider. Write it like "openai:gpt-5", or set ai.base_url'),
        ({"model": "openai:gpt-5"}, 'ai.api_key is not set: the key for "openai:gpt-5", .* OPENAI_API_KEY.*'),
        ({"model": "anthropic:claude"}, "ai.api_key is not set: .* ANTHROPIC_API_KEY.*"),
        ({"model": "openai:", "api_key": "k"}, 'ai.model: "openai:" names no model'),
        ({"model": "openai-compatible:x"}, 'ai.model: "openai-compatible:x" names no provider. .* ai.base_url'),
        ({"fallback_model": "offline"}, 'ai.fallback_model: "offline" is a demo'),
        ({"fallback_model": "gpt-5"}, 'ai.fallback_model: "gpt-5" names no provider. .* ai.fallback_base_url'),
        ({"fallback_model": "openai:gpt-5"}, "ai.fallback_api_key is not set"),
    ],
)
def test_unusable_models_are_one_clear_line(ai: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        build_responder(AiSettings(**ai), [], base_dir=tmp_path)  # type: ignore[arg-type]  # pydantic reads the strings


@pytest.mark.parametrize(
    ("persona", "message"),
    [
        ({"prompt_file": "gone.txt"}, r'personas.p.prompt_file: cannot read .*gone.txt": No such file'),
        ({"prompt_file": "."}, "Is a directory"),
        ({"prompt_file": "empty.txt"}, r'empty.txt" is empty'),
        ({"prompt_file": "latin.txt"}, r'latin.txt" is not UTF-8 text \(byte 1\)'),
        ({"prompt_file": "large.txt"}, "larger than 256 KiB"),
        ({"model": "gpt-5"}, 'personas.p.model: "gpt-5" names no provider'),
        ({"agent": "mybot"}, 'personas.p.agent "mybot": expected "module:attribute"'),
        ({"agent": "mybot:agent."}, 'expected "module:attribute"'),
        ({"agent": "mybot:agent", "model": "openai:gpt-5"}, "agent brings its own prompt and model"),
    ],
)
def test_unusable_personas_are_one_clear_line(persona: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"a\xe9o")
    (tmp_path / "large.txt").write_text("x" * 300_000)
    settings = PersonaSettings.model_validate({"name": "p", **persona})
    with pytest.raises(ConfigError, match=message):
        build_responder(AiSettings(), [settings], base_dir=tmp_path)


def test_two_personas_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='personas "p": there are two of this name'):
        build_responder(AiSettings(), [PersonaSettings(name="p"), PersonaSettings(name="p")], base_dir=tmp_path)


async def test_an_unknown_provider_is_one_clear_line(build: Build) -> None:
    with pytest.raises(
        ConfigError, match=r'^ai.model "llama3.2:3b": no provider is called "llama3.2"; .* set its base_url$'
    ):
        await build(model="llama3.2:3b").warm()


async def test_a_missing_sdk_is_one_clear_line(build: Build) -> None:
    with pytest.raises(ConfigError, match=r'^ai.model "groq:llama": Please install .*groq'):
        await build(model="groq:llama", api_key="k").warm()


def test_a_key_stays_with_its_provider() -> None:
    ai = AiSettings.model_validate(
        {"model": "openai:gpt", "api_key": "sk-openai", "fallback_model": "small", "fallback_base_url": "http://x/v1"}
    )
    fallback = fallback_endpoint(ai)
    assert fallback is not None
    assert fallback.api_key is None
    with pytest.raises(ConfigError, match=r"^ANTHROPIC_API_KEY is not set: .*\(personas.p.model\), which ai.api_key"):
        persona_endpoint(ai, "personas.p.model", "anthropic:claude")
    assert persona_endpoint(ai, "personas.p.model", "groq:llama").api_key is None
    assert persona_endpoint(ai, "personas.p.model", "openai:gpt-mini").api_key == ai.api_key


@pytest.mark.parametrize(
    ("ai", "shared"),
    [
        ({"model": "openai:gpt", "fallback_model": "openai:small"}, True),
        ({"model": "openai:gpt", "fallback_model": "openai-responses:small"}, True),
        ({"base_url": "http://a/v1", "model": "big", "fallback_base_url": "http://a/v1/", "fallback_model": "s"}, True),
        ({"model": "openai:gpt", "fallback_model": "openai:small", "fallback_base_url": "http://b/v1"}, False),
        ({"base_url": "http://a/v1", "model": "big", "fallback_base_url": "http://b/v1", "fallback_model": "s"}, False),
        ({"fallback_model": "small", "fallback_base_url": "http://b/v1"}, False),
    ],
)
def test_a_fallback_gets_the_key_only_at_the_same_place(ai: dict[str, str], shared: bool) -> None:
    settings = AiSettings.model_validate({"api_key": "sk-main", **ai})
    fallback = fallback_endpoint(settings, {})
    assert fallback is not None
    assert fallback.api_key == (settings.api_key if shared else None)


def test_a_gateways_key_does_not_go_to_the_provider() -> None:
    ai = {"model": "openai:gpt", "base_url": "http://gateway/v1", "api_key": "k", "fallback_model": "openai:small"}
    with pytest.raises(ConfigError, match=r"^ai\.fallback_api_key is not set"):
        fallback_endpoint(AiSettings.model_validate(ai), {})


def test_a_key_that_several_providers_would_get_is_refused(tmp_path: Path) -> None:
    ai = AiSettings.model_validate({"api_key": "sk"})
    personas = [PersonaSettings(name="a", model="openai:gpt"), PersonaSettings(name="b", model="anthropic:claude")]
    with pytest.raises(ConfigError, match=r"^ai\.api_key: would be sent to the providers of .*personas\.b\.model"):
        build_responder(ai, personas, base_dir=tmp_path)
    build_responder(ai, [personas[0], PersonaSettings(name="c", model="openai:small")], base_dir=tmp_path)


async def test_a_key_of_the_environment_does_not_go_to_a_base_url(
    build: Build, model: LoopbackModel, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(variable, "sk-canary")
    for name in ("openai:gpt-test", "anthropic:claude-test", "qwen"):
        await build(model=name, base_url=model.base_url).reply(conversation.context("hello"))
    assert len(model.requests) == 3
    assert "sk-canary" not in str([asked.headers for asked in model.requests])


def test_the_token_of_anthropic_is_a_key() -> None:
    assert main_endpoint(AiSettings(model="anthropic:claude"), {"ANTHROPIC_AUTH_TOKEN": "t"})


def test_a_key_never_shows() -> None:
    ai = AiSettings.model_validate({"model": "openai:gpt", "api_key": "sk-openai"})
    assert "sk-openai" not in repr(main_endpoint(ai))


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("llama3.2:3b", "openai-compatible", "llama3.2:3b"),
        ("mistral:7b", "openai-compatible", "mistral:7b"),
        ("ollama:qwen3:8b", "openai-compatible", "qwen3:8b"),
        ("openai:gpt-5", "openai", "gpt-5"),
        ("openai-chat:gpt-5", "openai", "gpt-5"),
        ("anthropic:claude", "anthropic", "claude"),
    ],
)
def test_names_with_a_base_url(model: str, provider: str, name: str) -> None:
    endpoint = main_endpoint(AiSettings(model=model, base_url="http://127.0.0.1:11434/v1"))
    assert endpoint is not None
    assert (endpoint.provider, endpoint.name) == (provider, name)


IMPORTS = """
import sys
from convoq.ai import build_responder
from convoq.settings import AiSettings
import asyncio, pathlib
responder = build_responder(AiSettings(model={model!r}, base_url="http://127.0.0.1:9/v1"), [], base_dir=pathlib.Path())
heavy = {{"pydantic_ai", "openai", "anthropic", "httpx2"}}
print(sorted(heavy & set(sys.modules)))
asyncio.run(responder.warm())
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("model", "loaded"),
    [
        ("offline", []),
        ("openai:gpt-test", ["httpx2", "openai", "pydantic_ai"]),
        ("anthropic:claude-test", ["anthropic", "httpx2", "pydantic_ai"]),
    ],
)
def test_only_what_a_model_needs_is_imported(model: str, loaded: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(model=model)], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.splitlines() == ["[]", str(loaded)]
    assert result.stderr == ""


@pytest.mark.parametrize("model", ["deepseek:deepseek-chat", "openai-responses:gpt-test", "openrouter:a/b"])
async def test_other_providers_are_known_by_name(build: Build, model: str) -> None:
    await build(model=model, api_key="sk-test").warm()


async def test_a_fallback_that_differs_only_by_its_key_is_asked(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    main = {"model": "qwen", "base_url": model.base_url, "api_key": "sk-one"}
    fallback = {f"fallback_{name}": value for name, value in main.items()} | {"fallback_api_key": "sk-two"}
    responder = build(**main, **fallback)
    model.fail(ModelFault.UNAUTHORIZED)
    await responder.reply(conversation.context("hello"))
    assert [asked.headers["Authorization"] for asked in model.requests] == ["Bearer sk-one", "Bearer sk-two"]
