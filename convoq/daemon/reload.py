"""SIGHUP under systemd: the settings are read again, and what may change while a role runs changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from convoq import logs, systemd
from convoq.errors import ConvoqError
from convoq.logs import log
from convoq.settings import Options
from convoq.settings.load import Loaded
from convoq.settings.schema import SECTIONS

#: What no restart is needed for, each in the role that it concerns: a number only names its persona.
WHILE_RUNNING: Final = ("numbers", "personas", "schedules")

#: Makes everything that the new settings ask for, and returns what puts it in place. Raises ConvoqError.
Prepare = Callable[[Loaded], Awaitable[Callable[[], Awaitable[None]]]]


class Reload:
    """Reads the settings again when it is asked to: all of the change takes place, or none of it.

    `read` loads them as the role's start did, `check` raises ConvoqError when the role could not start with them.
    """

    def __init__(self, loaded: Loaded, *, read: Callable[[], Loaded], check: Callable[[Options], None]) -> None:
        self._running = loaded.options
        self._read = read
        self._check = check
        self._requested = asyncio.Event()
        self.prepare: Prepare = _nothing  #: of the role

    def request(self) -> None:
        self._requested.set()

    async def run(self) -> None:
        """Reloads at each request, one after the other, until it is cancelled."""
        while await self._requested.wait():
            self._requested.clear()
            systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={systemd.monotonic_usec()}")
            await self.reload()
            systemd.notify("READY=1")

    async def reload(self) -> None:
        """Reads the settings once more. The log says what came of it."""
        try:
            await self._reload()
        except ConvoqError as error:
            for line in str(error).splitlines():
                log.error("reload.refused", error=line)
        except Exception:  # a module of the user's own may raise anything: the role works on as it was
            log.exception("reload.failed")

    async def _reload(self) -> None:
        new = await asyncio.to_thread(self._read)
        options = _merged(self._running, new.options)
        self._check(options)
        put_in_place = await self.prepare(replace(new, options=options))
        changed, self._running = differing(self._running, options), options
        logs.set_level(options.log.level)
        await put_in_place()
        log.info("reload.finished", changed=changed)
        if left := differing(options, new.options):
            log.warning("reload.needs_restart", settings=left)


async def _nothing(_: Loaded) -> Callable[[], Awaitable[None]]:
    return partial(asyncio.sleep, 0)


def _merged(running: Options, new: Options) -> Options:
    """The running options, with what may change while they run."""
    changes = {name: getattr(new, name) for name in WHILE_RUNNING}
    log_settings = running.log.model_copy(update={"level": new.log.level})
    return running.model_copy(update={**changes, "log": log_settings})


def differing(one: Options, other: Options) -> list[str]:
    """The names of the settings that differ: never a value, which may be a secret."""
    names: list[str] = []
    for name in Options.model_fields:
        mine, others = getattr(one, name), getattr(other, name)
        if name in SECTIONS:
            keys = type(mine).model_fields
            names += [f"{name}.{key}" for key in keys if getattr(mine, key) != getattr(others, key)]
        elif mine != others:
            names.append(name)
    return names
