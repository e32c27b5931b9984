"""A reload changes all that may change while a role runs, or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from convoq.daemon.reload import Reload, differing
from convoq.errors import ConfigError
from convoq.logs import log
from convoq.settings import Options
from convoq.settings.load import Loaded

Logs = list[MutableMapping[str, Any]]


def loaded(**tables: Any) -> Loaded:
    return Loaded(Options.model_validate(tables), Path("convoq.toml"), {})


RUNNING = loaded(log={"level": "info"}, work={"concurrency": 8})


class Role:
    """What a role puts in place, and when it refuses to."""

    def __init__(self) -> None:
        self.in_place: list[Loaded] = []
        self.error: Exception | None = None

    async def prepare(self, new: Loaded) -> Callable[[], Awaitable[None]]:
        if self.error is not None:
            raise self.error

        async def put_in_place() -> None:
            self.in_place.append(new)

        return put_in_place


async def reload(role: Role, *files: Loaded | Exception) -> Logs:
    """Reloads once for each of the files; returns what was logged."""
    left = list(files)

    def read() -> Loaded:
        file = left.pop(0)
        if isinstance(file, Exception):
            raise file
        return file

    reloading = Reload(RUNNING, read=read, check=lambda _: None)
    reloading.prepare = role.prepare
    with structlog.testing.capture_logs() as logs:
        while left:
            await reloading.reload()
    return logs


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    log.follow()


async def test_what_may_change_is_put_in_place_and_the_rest_stays_as_it_runs() -> None:
    role = Role()
    new = loaded(personas=[{"name": "shop"}], work={"concurrency": 9}, twilio={"auth_token": "x"})
    logs = await reload(role, new, new)
    [first, second] = [placed.options for placed in role.in_place]
    assert [persona.name for persona in first.personas] == ["shop"]
    assert first.work.concurrency == 8
    assert second == first
    finished = [event["changed"] for event in logs if event["event"] == "reload.finished"]
    later = [event["settings"] for event in logs if event["event"] == "reload.needs_restart"]
    assert finished == [["personas"], []]
    assert later == [["twilio.auth_token", "work.concurrency"]] * 2


@pytest.mark.parametrize("error", [ConfigError("convoq.toml:1: one\nconvoq.toml:2: two"), RuntimeError("a plugin")])
async def test_a_role_that_refuses_keeps_what_it_has_and_reloads_again(error: Exception) -> None:
    role = Role()
    role.error = error
    logs = await reload(role, loaded(log={"level": "error"}), ConfigError("convoq.toml: gone"))
    said = [event.get("error") for event in logs]
    refused = ["convoq.toml:1: one", "convoq.toml:2: two"] if isinstance(error, ConfigError) else [None]
    assert said == [*refused, "convoq.toml: gone"]
    assert role.in_place == []


def test_differing_settings_are_named_without_their_values() -> None:
    one = loaded(twilio={"auth_token": "a"}).options
    other = loaded(twilio={"auth_token": "b"}, handlers={"k": "m:f"}).options
    assert differing(one, other) == ["twilio.auth_token", "handlers"]
    assert differing(one, one) == []
