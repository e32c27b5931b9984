"""The guide to agents and jobs: its own code, on real processes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.model import LoopbackModel
from tests.process.harness import NUMBER, Site

pytestmark = pytest.mark.process

GUIDE = Path(__file__).parents[2] / "docs" / "agents-and-jobs.md"
PEOPLE = ("whatsapp:+15551230001", "whatsapp:+15551230002")  #: whom its program writes to
TOLD = "Your bicycle (1042) is ready since this morning."


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", GUIDE.read_text())


def configure(site: Site) -> None:
    agent, handler, program = blocks("python")
    (site.directory / "shop.py").write_text(agent + "\n\n" + handler)
    (site.directory / "tell.py").write_text(program)
    (site.directory / "convoq.toml").write_text("".join(blocks("toml")))


def look_up(messages: Sequence[ChatMessage]) -> str | ToolCall:
    last = messages[-1]
    return f"Repair 1042 is {last.text}." if last.role == "tool" else ToolCall("repair", {"ticket": "1042"})


async def test_the_agent_of_the_guide_answers_with_its_tool(site: Site) -> None:
    configure(site)
    async with LoopbackModel(look_up) as model:
        site.settings |= {"CONVOQ_AI__MODEL": "qwen", "CONVOQ_AI__BASE_URL": model.base_url}
        await site.serve()
        await site.start("work")
        await site.say("Is my bike ready? Ticket 1042")
        await site.until(lambda: bool(site.twilio.messages), "it is answered")
    [message] = site.twilio.messages
    assert (message.from_, message.body) == (NUMBER, "Repair 1042 is ready since this morning.")


async def test_the_program_and_the_command_of_the_guide_are_one_message_together(site: Site) -> None:
    configure(site)
    async with LoopbackModel(lambda _: "Hello!") as model:
        site.settings |= {"CONVOQ_AI__MODEL": "qwen", "CONVOQ_AI__BASE_URL": model.base_url}
        await site.serve()
        await site.start("work")
        for person in PEOPLE:  # who did not write within a day is sent nothing
            await site.say("Hello?", sender=person)
        await site.until(lambda: len(site.twilio.messages) == 2, "both are answered")
        assert await (await site.start("tell.py", program=())).ended() == 0
        [command] = [line for line in blocks("console") if "convoq enqueue" in line]
        enqueue = await site.start(*shlex.split(command)[2:])
        assert await enqueue.ended() == 0
        assert "duplicate" in enqueue.output
        await site.until(lambda: len(site.twilio.messages) == 4, "both are told")
    told = [(message.to, message.body) for message in site.twilio.messages if message.body != "Hello!"]
    assert sorted(told) == sorted(zip(PEOPLE, (TOLD, "We open at ten tomorrow."), strict=True))
