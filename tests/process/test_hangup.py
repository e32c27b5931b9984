"""SIGHUP: the end in order without systemd, a reload of the settings under it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from convoq.loopback.dialects import ChatMessage
from convoq.loopback.model import LoopbackModel
from tests.process.harness import Process, Site

pytestmark = pytest.mark.process

UNMANAGED = {"NOTIFY_SOCKET": "", "SYSTEMD_EXEC_PID": ""}
DAILY = '[[schedules]]\nname = "daily"\nkind = "shop.daily"\nevery = 86400\n'
TICK = '[[schedules]]\nname = "tick"\nkind = "shop.tick"\nevery = 1\n'
HANDLERS = '[handlers]\n"shop.daily" = "shop:daily"\n"shop.tick" = "shop:tick"\n'


def hang_up(process: Process) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)


def events(process: Process, name: str) -> list[dict[str, Any]]:
    return [event for event in process.events if event["event"] == name]


async def started(site: Site, role: str, environ: Mapping[str, str] | None = None) -> Process:
    site.settings |= environ or {}
    process = await site.start(role)
    await site.until(lambda: bool(events(process, "role.started")), "the role has started")
    return process


async def reloaded(site: Site, process: Process, ending: str = "reload.finished") -> dict[str, Any]:
    """Reloads, and returns the event that says how that ended."""
    before = len(events(process, ending))
    hang_up(process)
    await site.until(lambda: len(events(process, ending)) > before, f"{ending} is logged")
    return events(process, ending)[-1]


async def test_a_closed_terminal_ends_a_role_in_order(site: Site) -> None:
    process = await started(site, "schedule", UNMANAGED)
    hang_up(process)
    assert await process.ended() == 0
    assert events(process, "role.stopped")
    assert site.rows("SELECT role FROM processes") == []


async def test_a_reload_changes_schedules_and_the_level_and_names_what_needs_a_restart(site: Site) -> None:
    del site.settings["CONVOQ_LOG__FORMAT"]
    config = site.directory / "convoq.toml"
    config.write_text(DAILY + HANDLERS)
    process = await started(site, "schedule")
    config.write_text(TICK + HANDLERS + '[log]\nlevel = "warning"\n[queue]\nmax_attempts = 3\n')
    hang_up(process)
    await site.until(lambda: bool(site.rows("SELECT 1 FROM jobs WHERE kind = 'shop.tick'")), "the new one is enqueued")
    await site.until(lambda: bool(events(process, "reload.needs_restart")), "what needs a restart is named")
    assert events(process, "reload.needs_restart")[0]["settings"] == ["queue.max_attempts"]
    assert events(process, "reload.finished") == []  # an info: below the new level
    process.terminate()
    assert await process.ended() == 0
    assert site.rows("SELECT count(*) FROM jobs WHERE kind = 'shop.daily'") == [(0,)]


async def test_a_bad_file_is_refused_with_its_lines_and_nothing_changes(site: Site) -> None:
    config = site.directory / "convoq.toml"
    config.write_text(TICK + HANDLERS)
    process = await started(site, "schedule")
    config.write_text(DAILY + HANDLERS + '[log]\nlevel = "loud"\n[work]\nconcurency = 4\n')
    await reloaded(site, process, "reload.refused")
    await site.until(lambda: len(events(process, "reload.refused")) == 2, "both lines are logged")
    level, unknown = [event["error"] for event in events(process, "reload.refused")]
    assert "convoq.toml:9: log.level" in level
    assert "concurrency" in unknown
    ticks = len(site.rows("SELECT 1 FROM jobs WHERE kind = 'shop.tick'"))
    await site.until(lambda: len(site.rows("SELECT 1 FROM jobs WHERE kind = 'shop.tick'")) > ticks, "it still ticks")
    config.write_text(DAILY + HANDLERS)
    assert (await reloaded(site, process))["changed"] == ["schedules"]


def said_by_the_prompt(messages: Sequence[ChatMessage]) -> str:
    """Which persona's prompt the model was shown."""
    shown = " ".join(message.text for message in messages)
    return next((word for word in ("Aurelia", "Berta", "Carla") if word in shown), "nobody")


async def test_a_reload_changes_prompts_and_personas_from_the_next_turn_on(site: Site) -> None:
    config, prompt = site.directory / "convoq.toml", site.directory / "shop.md"
    prompt.write_text("You are Aurelia.")
    persona = '[[personas]]\nname = "{}"\nprompt_file = "shop.md"\n'
    config.write_text(persona.format("default"))
    async with LoopbackModel(said_by_the_prompt, delay=0) as model:
        site.settings |= {
            "CONVOQ_AI__MODEL": "openai:any", "CONVOQ_AI__BASE_URL": model.base_url, "CONVOQ_AI__API_KEY": "x",
        }  # fmt: skip
        await site.serve()
        work = await started(site, "work")
        assert await answer(site) == "Aurelia"
        prompt.write_text("You are Berta.")
        await reloaded(site, work)
        assert events(work, "personas.replaced")[-1]["personas"] == ["default"]
        assert await answer(site) == "Berta"
        (site.directory / "night.md").write_text("You are Carla.")
        numbers = '[[numbers]]\naddress = "whatsapp:+15550009999"\npersona = "night"\n'
        config.write_text(numbers + persona.format("default") + persona.format("night").replace("shop.md", "night.md"))
        assert (await reloaded(site, work))["changed"] == ["numbers", "personas"]
        assert await answer(site) == "Carla"
        prompt.unlink()
        refused = await reloaded(site, work, "reload.refused")
        assert "shop.md" in refused["error"]
        assert await answer(site) == "Carla"


async def answer(site: Site) -> str:
    """What a person who writes now is told."""
    known = len(site.twilio.messages)
    await site.say("hello", sender=f"whatsapp:+1555123{known:04d}")
    await asyncio.wait_for(site.twilio.wait_for_messages(known + 1), 30)
    return site.twilio.messages[-1].body
