"""The disk fills up: webhooks hear 503 and never 200, and all recovers by itself once there is room."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

from tests.fire.audit import settle
from tests.fire.crowd import Crowd, first_200, tries_between
from tests.fire.plan import Plan
from tests.fire.report import Section
from tests.fire.site import Site, open_site
from tests.write_ahead_log import end_of

SIZE_MB = 48
FULL = 3.0  # seconds
RECOVERY = 5.0  # seconds from free space to the first 200
EXPLAINED = {
    "job.outcome_unrecorded": "no room to write how a job ended: its lease ran out and it was claimed again",
}


async def disks(plan: Plan) -> Section:
    """Rounds take turns: no room at all, room only for work in progress, a limit on the size of files."""
    kind = ("full", "watermark", "limit")[plan.number % 3]
    section = Section("disks", "the disk is full, nearly full, or files may not grow")
    with small_disk(plan.directory / "disk") as disk:
        if disk is None or kind == "limit":
            kind, disk = "limit", plan.directory / "data"
        room = {"CONVOQ_DATABASE__MIN_FREE_MB": "8"} if kind == "watermark" else {}
        async with open_site(
            plan.directory,
            database=disk / "convoq.db",
            CONVOQ_QUEUE__VISIBILITY_TIMEOUT="2",
            **room,  # type: ignore[arg-type] # all of them are settings
        ) as site:
            crowd = Crowd(site, plan.rng, size=10, think=0.3)
            plan.begin()
            async with crowd.writing():
                while await plan.wait(1.0):
                    await _fill(kind, site, crowd, section)
                    plan.done += 1
                    plan.doing(f"{kind}: {section.counts[f'times: {kind}']} times")
            await settle(site, crowd, section, explained=EXPLAINED)
    return section


async def _fill(kind: str, site: Site, crowd: Crowd, section: Section) -> None:
    """One time without room, from beginning to end."""
    section.count(f"times: {kind}")
    with _no_growth(site) if kind == "limit" else _no_space(site, keep_mb=6 if kind == "watermark" else 0):
        filled = monotonic()
        await site.until(lambda: _is_known(crowd, filled), "a webhook that hears that there is no room", RECOVERY)
        begin = monotonic()
        await asyncio.sleep(FULL)  # how long there is no room: the harm itself
        end = monotonic()
    freed = monotonic()
    within = [one for one in tries_between(crowd.messages, begin, end) if one.began > begin and one.ended < end]
    section.count("webhooks while it was full", len(within))
    section.count("  answered 503", sum(one.status == 503 for one in within))
    section.count("  answered 200", sum(one.status == 200 for one in within))
    hung = [one for one in within if one.status is None]
    section.expect(not hung, f"{len(hung)} webhooks had no answer while the disk was full")
    section.expect(any(one.status == 503 for one in within), "no webhook heard that the disk was full")
    if kind == "watermark":
        section.expect(not any(one.status == 200 for one in within), "accepted below the watermark")
    recovered = partial(first_200, crowd.messages, freed)
    await site.until(lambda: recovered() is not None, "a 200 after the disk had room again", RECOVERY)
    section.time("from room to the first 200", (recovered() or freed + RECOVERY) - freed)


def _is_known(crowd: Crowd, since: float) -> bool:
    """Whether serve has noticed that there is no room: it looks once a second."""
    return any(one.status == 503 and one.began > since for message in crowd.messages for one in message.tries)


@contextmanager
def _no_space(site: Site, *, keep_mb: int) -> Iterator[None]:
    """A file takes all the room that is left but `keep_mb`."""
    ballast = site.database.parent / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while _free(site) > keep_mb << 20 and _write_some(file):
                pass
        yield
    finally:
        ballast.unlink()


def _free(site: Site) -> int:
    disk = os.statvfs(site.database.parent)
    return disk.f_bavail * disk.f_frsize


def _write_some(file: io.FileIO) -> bool:
    """Whether there was still room."""
    try:
        return bool(file.write(b"\0" * 65536))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@contextmanager
def _no_growth(site: Site) -> Iterator[None]:
    """No process may write further into a file than the database's log goes now."""
    log = site.database.with_name(site.database.name + "-wal")
    limit = (max(end_of(log.read_bytes()), site.database.stat().st_size), resource.RLIM_INFINITY)
    try:
        _limit_files(site, limit)
        yield
    finally:
        _limit_files(site, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _limit_files(site: Site, limit: tuple[int, int]) -> None:
    for role in site.roles.values():
        if role.pid is not None:
            resource.prlimit(role.pid, resource.RLIMIT_FSIZE, limit)


@contextmanager
def small_disk(directory: Path) -> Iterator[Path | None]:
    """A filesystem of its own; None where we may not mount one."""
    directory.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)
