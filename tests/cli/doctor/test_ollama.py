"""The doctor looks at how much a local model has room for: Ollama cuts the rest without a word."""

from __future__ import annotations

import pytest

from convoq.cli.doctor.model import check_model
from convoq.loopback.model import LoopbackModel
from convoq.monitoring.findings import Finding, Level
from convoq.settings.load import load
from tests.cli.doctor.harness import whole
from tests.cli.scenes import Place


async def examined(place: Place, base_url: str, name: str = "llama3.2:3b") -> Finding:
    place.configure(whole(model=name, ai=f'base_url = "{base_url}"'))
    return await check_model(load(place.config, environ={}))


@pytest.mark.parametrize("name", ["llama3.2:3b", "qwen"])
async def test_a_context_that_is_too_small_is_a_warning_with_its_remedy(bare: Place, name: str) -> None:
    listed = name if ":" in name else f"{name}:latest"
    async with LoopbackModel(lambda _: "ready", loaded={"other": 99, listed: 4096}) as model:
        found = await examined(bare, model.base_url, name)
    assert found.level is Level.WARN
    assert "drops what exceeds 4096 tokens without a word" in found.detail
    assert "OLLAMA_CONTEXT_LENGTH=7168" in (found.fix or "")


async def test_a_context_with_room_is_fine(bare: Place) -> None:
    async with LoopbackModel(lambda _: "ready", loaded={"llama3.2:3b": 8192}) as model:
        assert (await examined(bare, model.base_url)).level is Level.OK


async def test_another_server_is_not_taken_for_ollama(bare: Place) -> None:
    async with LoopbackModel(lambda _: "ready") as model:
        assert (await examined(bare, model.base_url)).level is Level.OK
