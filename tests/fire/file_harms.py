"""Files that are moved, removed or replaced under running roles, and what an operator does about it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

from convoq.queue.sqlite.liveness import known_workers
from tests.fire.harmed import REFUSED, Harmed


async def moved_away_from_starts(harmed: Harmed) -> None:
    """A volume that is mounted late, a restore that is under way: starts are tried, and then the file comes back."""
    roles = list(harmed.site.roles.values())
    harmed.hold()
    for role in roles:
        role.kill()
    await harmed.site.until_down()
    harmed.database.rename(harmed.database.with_name("aside"))
    before = [role.starts for role in roles]
    harmed.release()

    def tried() -> bool:
        return all(role.starts > start + 1 for role, start in zip(roles, before, strict=True))

    await harmed.site.until(tried, "each role has tried to start twice")
    harmed.section.expect(not harmed.database.exists(), "a start made a new file where one was")
    codes = {role.name: role.unplanned[-1] for role in roles}
    harmed.section.expect(set(codes.values()) == {REFUSED}, f"starts without the file ended with {codes}")
    harmed.database.with_name("aside").rename(harmed.database)


async def moved_away(harmed: Harmed) -> None:
    harmed.hold()
    harmed.database.rename(harmed.database.with_name("aside"))
    await harmed.refused()
    harmed.database.with_name("aside").rename(harmed.database)
    harmed.release()


async def log_removed(harmed: Harmed) -> None:
    """What was acknowledged into it is saved by the roles as they end."""
    harmed.hold()
    harmed.log.unlink()
    await harmed.refused()
    harmed.release()


async def replaced_by_mistake(harmed: Harmed) -> None:
    """What the operator moved aside is put back, with the log that was never moved."""
    backup = harmed.database.with_name("backup")
    await harmed.backup(backup)
    await harmed.until_accepted(10)
    harmed.hold()
    harmed.database.rename(harmed.database.with_name("aside"))
    backup.rename(harmed.database)
    await harmed.refused()
    harmed.database.with_name("aside").rename(harmed.database)
    harmed.release()


async def gate_replaced(harmed: Harmed) -> None:
    gate = harmed.run_directory / "gate"
    harmed.hold()
    gate.with_name("new").touch(mode=0o600)
    gate.with_name("new").rename(gate)
    await harmed.refused()
    shutil.rmtree(harmed.run_directory)  # as the line says that the roles ended with
    harmed.release()


async def marks_removed(harmed: Harmed) -> None:
    """Each worker puts its mark back; one is killed then, and its claims are taken over by it."""
    alive = [name for role in harmed.site.workers for name in known_workers(harmed.run_directory)
             if f"-{role.pid}-" in name]  # fmt: skip
    for name in alive:
        (harmed.run_directory / f"{name}.alive").unlink()
    await harmed.site.until(lambda: {*alive} <= {*known_workers(harmed.run_directory)}, "the marks are back")
    harmed.site.workers[0].kill()


async def reader_pins_the_log(harmed: Harmed) -> None:
    with closing(sqlite3.connect(f"file:{harmed.database}?mode=ro", uri=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        size = harmed.log.stat().st_size
        harmed.site.workers[0].kill()
        await harmed.until_accepted(200)
        harmed.section.worst("largest pinned log, MB", max(size, harmed.log.stat().st_size) / 1e6)
