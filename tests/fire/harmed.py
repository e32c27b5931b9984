"""What a harm acts on: the site, its crowd, and the verbs that an operator has."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.fire.crowd import Crowd
from tests.fire.report import Section
from tests.fire.site import Site

REFUSED = 78


@dataclass
class Harmed:
    site: Site
    crowd: Crowd
    section: Section
    _ends: dict[str, int] = field(default_factory=dict)  #: of each role that is held, when that began

    @property
    def database(self) -> Path:
        return self.site.database

    @property
    def log(self) -> Path:
        return self.database.with_name(self.database.name + "-wal")

    @property
    def run_directory(self) -> Path:
        return self.database.with_name(self.database.name + ".run")

    @property
    def accepted(self) -> int:
        return sum(message.accepted is not None for message in self.crowd.messages)

    async def until_accepted(self, more: int) -> None:
        """Returns once so many more messages were answered 200."""
        goal = self.accepted + more
        await self.site.until(lambda: self.accepted >= goal, f"{more} more messages are accepted")

    def hold(self) -> None:
        """What ends from here on stays down."""
        for role in self.site.roles.values():
            role.hold()
            self._ends[role.name] = len(role.unplanned)

    def release(self) -> None:
        for role in self.site.roles.values():
            role.release()

    async def refused(self) -> None:
        """Returns once each of the held roles has noticed and ended with 78."""
        roles = self.site.roles.values()
        ended = await self.site.until(
            lambda: all(len(role.unplanned) > self._ends[role.name] for role in roles), "all roles have ended"
        )
        codes = {role.name: role.unplanned[self._ends[role.name] :] for role in roles}
        self.section.expect(not ended or all(code == [REFUSED] for code in codes.values()), f"ended with {codes}")

    async def backup(self, target: Path) -> None:
        """As an operator makes one beside running roles."""
        made = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "convoq", "db", "backup", str(target),
            cwd=self.site.directory, env=self.site.roles["serve"].environ,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self.section.expect(await made.wait() == 0, "`convoq db backup` failed")
