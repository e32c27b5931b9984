"""Roles that meet a gate whose holder is stopped: they say who holds it, wait, and go on once it is let go."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.db.notes import continued, frozen
from tests.process.harness import Process, Site

pytestmark = pytest.mark.process


def events(process: Process, name: str) -> list[dict[str, Any]]:
    return [event for event in process.events if event["event"] == name]


async def said_held(site: Site, process: Process) -> dict[str, Any]:
    await site.until(lambda: bool(events(process, "database.gate_held")), "the role names who holds the gate")
    [event] = events(process, "database.gate_held")
    return event


@pytest.mark.parametrize("role", ["serve", "schedule", "work"])
async def test_a_role_that_starts_behind_a_stopped_process_names_it_and_starts_when_it_goes_on(
    site: Site, role: str
) -> None:
    holder = await frozen(site.database)
    process = await site.start(role)
    said = await said_held(site, process)
    assert re.fullmatch(rf"process {holder.pid} \(.*python.*, stopped\)", said["holder"])
    assert (said["level"], said["gate"]) == ("warning", str(site.database) + ".run/gate")
    assert 2 <= said["seconds"] < 20
    assert "kill -CONT" in said["remedy"]

    await continued(holder)
    await site.until(lambda: bool(events(process, "role.started")), "the role has started")
    assert len(events(process, "database.gate_free")) == 1


@pytest.mark.parametrize("role", ["serve", "schedule", "work"])
async def test_a_role_that_has_not_started_behind_a_stopped_process_ends_at_once_at_sigterm(
    site: Site, role: str
) -> None:
    holder = await frozen(site.database)
    process = await site.start(role)
    await said_held(site, process)
    process.terminate()
    assert await process.ended() == 0
    assert [event["event"] for event in process.events] == ["database.gate_held", "role.stopped"]
    await continued(holder)


async def test_a_running_serve_behind_a_stopped_process_answers_503_and_names_it(site: Site) -> None:
    serve = await site.serve()
    holder = await frozen(site.database)
    assert (await site.say("hello")).status == 503
    assert f"process {holder.pid} (" in (await said_held(site, serve))["holder"]

    await continued(holder)
    await site.until(lambda: bool(events(serve, "database.gate_free")), "serve goes on")
    assert (await site.say("hello again")).status == 200
