"""What a model is told of time: now, and how old each line is, by the wall clock and in the number's own zone."""

from __future__ import annotations

import time
import zoneinfo
from typing import Any

import pytest

from convoq.ai.base import Author, ContextLine
from convoq.loopback.dialects import ChatMessage
from convoq.loopback.model import LoopbackModel
from tests.ai.conftest import AT, Build, Conversation

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

pytestmark = pytest.mark.parametrize("name", ["openai:gpt-test", "anthropic:claude-test", "llama3.2:3b"])


def written(*lines: tuple[Author, str, int]) -> tuple[ContextLine, ...]:
    """Lines of a conversation and how many ms before AT they were written."""
    return tuple(ContextLine(author=author, text=text, at=AT - ago) for author, text, ago in lines)


@pytest.fixture
def asked(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> Any:
    """What the model reads: its system prompt, then the messages."""

    async def asked(lines: tuple[ContextLine, ...], **fields: Any) -> list[str]:
        context = conversation.context(lines=lines, **{"now": AT} | fields)
        await build(model=name, base_url=model.base_url).reply(context)
        messages: tuple[ChatMessage, ...] = model.requests[-1].messages
        return [message.text for message in messages]

    return asked


@pytest.mark.parametrize(
    ("zone", "now"),
    [
        ("Europe/Madrid", "Sunday 22 November 2026, 15:05 CET"),
        ("America/Sao_Paulo", "Sunday 22 November 2026, 11:05 -03"),
        ("UTC", "Sunday 22 November 2026, 14:05 UTC"),
    ],
)
async def test_now_is_told_in_the_zone_of_the_number(asked: Any, zone: str, now: str) -> None:
    [system, _] = await asked(written((Author.CONTACT, "open now?", 0)), timezone=zoneinfo.ZoneInfo(zone))
    assert f"It is now {now}." in system


async def test_without_a_zone_the_machines_is_meant(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        [system, _] = await asked(written((Author.CONTACT, "open now?", 0)), timezone=None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "It is now Sunday 22 November 2026, 23:05 JST." in system


async def test_each_line_has_its_age(asked: Any) -> None:
    shown = await asked(
        written(
            (Author.CONTACT, "do you have oars?", 3 * DAY),
            (Author.AI, "Two left.", 3 * DAY - MINUTE),
            (Author.OPERATOR, "Still interested?", DAY + HOUR),
            (Author.CONTACT, "are you open?", 2 * HOUR),
            (Author.CONTACT, "now?", 0),
        )
    )
    assert shown[1:] == [
        "⟦3 days ago, on Thursday 19 November 2026, 14:05 UTC⟧\n\ndo you have oars?",
        "Two left.",
        "⟦1 day ago, on Saturday 21 November 2026, 13:05 UTC⟧",
        "⟦colleague⟧ Still interested?",
        "⟦2 hours ago, on Sunday 22 November 2026, 12:05 UTC⟧\n\nare you open?\n\n"
        "⟦just now, on Sunday 22 November 2026, 14:05 UTC⟧\n\nnow?",
    ]


async def test_a_talk_of_this_moment_carries_no_dates(asked: Any) -> None:
    lines = written(
        (Author.CONTACT, "hi", 14 * MINUTE), (Author.AI, "Hello!", 13 * MINUTE), (Author.CONTACT, "oars?", 0)
    )
    assert (await asked(lines))[1:] == ["hi", "Hello!", "oars?"]


@pytest.mark.parametrize("ago", [20_000 * DAY, -DAY])
async def test_a_time_that_cannot_be_is_not_told(asked: Any, ago: int) -> None:
    lines = written((Author.CONTACT, "hi", ago), (Author.AI, "Hello!", ago), (Author.CONTACT, "oars?", 0))
    assert (await asked(lines))[1:] == [
        "⟦at an unknown time⟧\n\nhi",
        "Hello!",
        "⟦just now, on Sunday 22 November 2026, 14:05 UTC⟧\n\noars?",
    ]


async def test_a_clock_that_cannot_be_right_tells_no_time(asked: Any) -> None:
    [system, message] = await asked((ContextLine(author=Author.CONTACT, text="hi", at=1000),), now=2000)
    assert "It is now" not in system
    assert message == "hi"
