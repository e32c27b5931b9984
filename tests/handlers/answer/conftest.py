"""A real responder in the house, and the model that it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from convoq.ai import build_responder
from convoq.loopback.model import LoopbackModel
from convoq.settings import AiSettings
from tests.handlers.house import House

ONCE = "anthropic:claude-test"  #: the dialect whose tests run on one database: they differ in nothing that it sees


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not {"postgres", ONCE} <= _parameters(item)]


def _parameters(item: pytest.Item) -> set[object]:
    spec = getattr(item, "callspec", None)
    return {one for one in spec.params.values() if isinstance(one, str)} if spec else set()


@pytest.fixture(params=["openai:gpt-test", ONCE])
async def model(request: pytest.FixtureRequest, house: House) -> AsyncIterator[LoopbackModel]:
    """Answers in the house, asked over HTTP in the one dialect and in the other."""
    async with LoopbackModel(lambda _: "We open at 9.") as model:
        ai = AiSettings(model=request.param, base_url=model.base_url)
        responder = build_responder(ai, (), base_dir=Path(), clock=lambda: house.clock.now() / 1000)
        house.responder.instead = responder
        yield model
        await responder.close()
