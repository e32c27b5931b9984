"""A loopback model, and a conversation to ask it about."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import certifi
import pytest

from convoq.ai import build_responder
from convoq.ai.base import Allowance, Author, ContextLine, ModelCall, ReplyContext, Responder
from convoq.loopback.model import LoopbackModel
from convoq.settings import AiSettings, PersonaSettings

AT = 1_795_356_300_000  # Sunday 22 November 2026, 14:05 UTC


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trust store of one certificate: reading the whole one takes longer than most tests."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    path = tmp_path_factory.mktemp("trust") / "authority.pem"
    path.write_text(first + end, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, one_authority: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
async def model() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel() as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel(lambda _: "the fallback speaks") as running:
        yield running


def said(*lines: tuple[Author, str] | str) -> tuple[ContextLine, ...]:
    """Lines of a conversation; a plain text is the contact's."""
    pairs = [(Author.CONTACT, line) if isinstance(line, str) else line for line in lines]
    return tuple(ContextLine(author=author, text=text, at=AT + 1000 * n) for n, (author, text) in enumerate(pairs))


@dataclass
class Conversation:
    """What a responder is asked, and the model calls that it recorded."""

    calls: list[ModelCall] = field(default_factory=list)

    async def record(self, call: ModelCall) -> None:
        self.calls.append(call)

    @property
    def outcomes(self) -> list[str]:
        return [call.outcome for call in self.calls]

    def context(self, *lines: tuple[Author, str] | str, persona: str = "default", **fields: Any) -> ReplyContext:
        values: dict[str, Any] = {
            "conversation_id": 1,
            "persona": persona,
            "channel": "twilio",
            "our_address": "whatsapp:+14155238886",
            "address": "whatsapp:+15550001111",
            "contact_name": "Ana",
            "lines": said(*lines),
            "now": AT + 1000 * len(lines),
            "timezone": dt.UTC,
            "record": self.record,
            "allowance": Allowance(requests=6, output_tokens=10_000),
        }
        return ReplyContext(**values | fields)


@pytest.fixture
def conversation() -> Conversation:
    return Conversation()


Build = Callable[..., Responder]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    """Builds responders and closes them."""
    responders: list[Responder] = []

    def build(personas: Sequence[PersonaSettings] = (), **ai: Any) -> Responder:
        responders.append(build_responder(AiSettings(**ai), personas, base_dir=tmp_path))
        return responders[-1]

    yield build
    for responder in responders:
        await responder.close()
