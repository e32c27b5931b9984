"""The doctor looks at the database: which user may use it, whether it is sound, and which processes were seen on it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from convoq.cli.doctor import budgets, kept, notify, queue
from convoq.cli.doctor.machine import user_name
from convoq.clock import DAY_MS
from convoq.errors import ConvoqError, DatabaseRefused
from convoq.monitoring.findings import Finding, Level, fail, note, ok, warn
from convoq.monitoring.roles import ROLES, RoleHealth, RoleState, judge_role
from convoq.text import age, counted, harmless, local_time, size

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.queue.base import JobAdmin
    from convoq.settings import Options

LARGEST_CHECKED_BYTES: Final = 512_000_000  # quick_check of more takes minutes
CLOCKS_APART_SECONDS: Final = 60.0
LONGEST_WRITE_SECONDS: Final = 2.0  # for one write


async def examine(options: Options, seen: set[str]) -> AsyncIterator[Finding]:
    """Fills `seen` with the roles that run."""
    from convoq.cli.session import open_jobs

    path = options.database.path.absolute()
    for finding in _file(path):
        yield finding
        if finding.level is not Level.OK and finding.name == "database":
            return
    started = monotonic()
    try:
        async with open_jobs(options) as (database, jobs):
            yield ok("schema", f"{database.found_schema}")
            await database.write(lambda _: None)
            yield writing(path, monotonic() - started, f"fuser -v {path}")
            yield await _log(path)
            yield await _sound(database)
            yield _clocks(database)
            async for finding in processes(database, seen):
                yield finding
            for finding in await queue.examine(options):
                yield finding
            yield await dead_letters(jobs)
            for finding in [
                *await budgets.reached(database, options), *await held(database), *await kept.unfinished(database),
                *await notify.failing(database),
            ]:  # fmt: skip
                yield finding
    except ConvoqError as error:
        yield fail("opening", str(error))


async def held(database: Store) -> list[Finding]:
    """What rules hold back just now."""
    from convoq.conversations.holding import LOOP, find_holds

    now = database.clock.now()
    return [
        warn("held back", harmless(hold.detail), f"convoq conversations show {hold.conversation_id}")
        if hold.rule == LOOP
        else note("held back", harmless(hold.detail) + (f", until {local_time(hold.until)}" if hold.until else ""))
        for hold in await database.read(find_holds, now, now - DAY_MS)
    ]


def _file(path: Path) -> Iterator[Finding]:
    try:
        status = path.stat()
    except FileNotFoundError:
        yield _missing(path)
        return
    except OSError as error:
        yield fail("database", f"{path}: {error.strerror}", "run the doctor as the user of the service")
        return
    if not os.access(path, os.R_OK | os.W_OK):
        yield fail(
            "database",
            f"{path}: belongs to {user_name(status.st_uid)}, and this user may not use it",
            f"sudo -u {user_name(status.st_uid)} convoq doctor",
        )
        return
    yield ok("database", f"{path}: {size(status.st_size)}")
    yield _permissions(path, status)


def _missing(path: Path) -> Finding:
    """One that was never there is no failure; one that is lost is."""
    from convoq.db.birth import OpenMode, prepare

    try:
        prepare(path, OpenMode.EXISTING)
    except DatabaseRefused as error:
        return fail("database", str(error))
    except ConvoqError:
        pass
    return note("database", f"none at {path} yet", "start convoq serve, or run convoq db migrate")


def _permissions(path: Path, status: os.stat_result) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    owner = user_name(status.st_uid)
    if mode & 0o077:
        return warn("permissions", f"mode {mode:03o}: others can read what people wrote", f"chmod 600 {path}")
    if status.st_uid != os.geteuid():
        return warn(
            "permissions",
            f"the database belongs to {owner}, you are {user_name(os.geteuid())}",
            f"run commands as its owner: sudo -u {owner} convoq ...",
        )
    return ok("permissions", f"mode {mode:03o}, owner {owner}")


def writing(place: Path | str, waited: float, look: str) -> Finding:
    """`look`: what tells who has it open."""
    if waited > LONGEST_WRITE_SECONDS:
        detail = f"a write had to wait {age(waited)}: another program holds the database, or the disk is slow"
        return warn("writing", detail, f"find who has {place} open: {look}")
    return ok("writing", "nobody holds it up")


async def _log(path: Path) -> Finding:
    from convoq.db.log_readers import END_READER, HELD_BY, examine_log

    state = await examine_log(path)
    if state.readers:
        return warn("log", f"{size(state.bytes)} and growing: {HELD_BY} {state.holders}", END_READER)
    if state.large:
        detail = f"{size(state.bytes)}, and no process that can be seen from here reads in it"
        return note("log", detail, "the next housekeeping empties it; if not, look in other containers for a reader")
    return ok("log", f"{size(state.bytes)}")


async def _sound(database: Store) -> Finding:
    from convoq.monitoring.audit import first_damage

    if (await database.footprint()).bytes > LARGEST_CHECKED_BYTES:
        return note("soundness", "too large to check here", "run convoq db check when there is time")
    damage = await database.read(first_damage)
    if damage is not None:
        return fail("soundness", damage, "stop the roles and restore a backup")
    return ok("soundness", "the file is sound")


def _clocks(database: Store) -> Finding:
    from convoq.clock import WallClock

    ahead = (WallClock().now() - database.clock.now()) / 1000
    if abs(ahead) > CLOCKS_APART_SECONDS:
        return warn(
            "clocks",
            f"the wall clock was set {age(abs(ahead))} {'forward' if ahead > 0 else 'back'} since this machine started:"
            " the queue is not affected, but times are shown by its own clock",
            "restart the machine when convenient, and let it keep its time by NTP",
        )
    return ok("clocks", f"wall and queue clock are {abs(ahead):.1f} s apart")


async def processes(database: Store, seen: set[str]) -> AsyncIterator[Finding]:
    from convoq.monitoring.processes import Processes

    now = database.clock.now()
    records = await Processes(database).seen()
    judged = [judge_role(role, records, now=now) for role in ROLES]
    seen.update(health.role for health in judged if health.state is RoleState.RUNNING)
    for health in judged:
        yield _role(health, others_run=bool(seen))


def _role(health: RoleHealth, *, others_run: bool) -> Finding:
    """What `convoq status` calls a problem is a failure, but for a convoq of which nothing was started yet."""
    role = health.role
    match health.state:
        case RoleState.RUNNING:
            return ok(role, f"{health.running} running, seen {age(health.silence)} ago")
        case RoleState.SILENT:
            return fail(role, f"silent for {age(health.silence)}", "look at its log, or start it again")
        case RoleState.GONE:
            detail = f"gone: its process {health.last_pid} was killed or crashed"
            return fail(role, detail, "look at its log, and start it again")
        case RoleState.UNSEEN:
            fix = f"convoq {role}, or systemctl start convoq-{role}"
            return fail(role, "not running, while others are", fix) if others_run else warn(role, "not running", fix)


async def dead_letters(jobs: JobAdmin) -> Finding:
    from convoq.queue.base import JobFilter, JobState

    dead = await jobs.count(JobFilter(states=(JobState.DEAD,)))
    if dead:
        detail = f"{counted(dead, 'job')} failed for good"
        return warn("dead letters", detail, "convoq jobs list --state dead")
    return ok("dead letters", "none")
