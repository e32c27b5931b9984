"""The doctor looks at the machine: Python, SQLite, the disk."""

from __future__ import annotations

import os
import pwd
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convoq.monitoring.findings import Finding, fail, note, ok, warn
from convoq.text import size

if TYPE_CHECKING:
    from convoq.settings import Options

Version = tuple[int, ...]

OLDEST_PYTHON: Final = (3, 11)
OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
FLUSHES: Final = 20
SLOW_FLUSH_SECONDS: Final = 0.05  # a webhook waits for about one
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def software() -> Iterator[Finding]:
    yield python(sys.version_info[:3])
    yield sqlite(sqlite3.sqlite_version_info)


def python(version: Version) -> Finding:
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return fail("python", f"Python {text} is too old", "install Python 3.11 or newer")
    return ok("python", f"Python {text}")


def sqlite(version: Version) -> Finding:
    text = ".".join(map(str, version))
    if version < OLDEST_SQLITE:
        return fail("sqlite", f"SQLite {text} is too old", "use a Python with SQLite 3.37 or newer")
    if has_wal_reset_bug(version):
        # A note: what comes with Debian 12 and Ubuntu 24.04 is like that, and convoq does not do what the bug needs.
        return note(
            "sqlite",
            f"SQLite {text} has the WAL-reset bug, which can damage a database when a checkpoint runs beside a commit;"
            " convoq's write gate keeps its own checkpoints from that",
            "let no other program write to the file; better, use SQLite 3.51.3, 3.50.7, 3.44.6 or newer",
        )
    return ok("sqlite", f"SQLite {text}")


def has_wal_reset_bug(version: Version) -> bool:
    """https://sqlite.org/wal.html#walresetbug: 3.7.0 to 3.51.2, but for two branches with the fix."""
    fixed_in = {(3, 50): 7, (3, 44): 6}
    if (version[0], version[1]) in fixed_in:
        return version[2] < fixed_in[version[0], version[1]]
    return (3, 7, 0) <= version <= (3, 51, 2)


def user_name(uid: int) -> str:
    """The login name; the number where the machine knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def disk(options: Options) -> Iterator[Finding]:
    """The disk that the database is on, or will be on."""
    path = options.database.path.absolute()
    directory = next((parent for parent in path.parents if parent.is_dir()), Path("/"))
    yield _filesystem(directory)
    yield _free_space(directory, options.database.min_free_mb)
    yield _flush_cost(directory)


def _filesystem(directory: Path) -> Finding:
    from convoq.db.files import NETWORK_FILESYSTEMS, filesystem

    kind = filesystem(directory)
    if kind in NETWORK_FILESYSTEMS:
        return fail(
            "filesystem",
            f"{directory} is on {kind}, a network filesystem: SQLite's locks do not hold there",
            "put [database] path on a local disk",
        )
    if kind in IN_MEMORY:
        return warn(
            "filesystem",
            f"{directory} is on {kind}: all is lost when the machine restarts",
            "put [database] path on a disk",
        )
    return ok("filesystem", f"{directory} is on {kind or 'an unknown filesystem'}")


def _free_space(directory: Path, min_free_mb: int) -> Finding:
    from convoq.db.files import FreeSpace

    status = os.statvfs(directory)
    free = size(status.f_bavail * status.f_frsize)
    if not FreeSpace(directory, min_free_mb).enough():
        return fail(
            "disk space",
            f"only {free} free: webhooks are answered 503",
            "free some space, or lower database.min_free_mb",
        )
    return ok("disk space", f"{free} free")


def _flush_cost(directory: Path) -> Finding:
    try:
        costs = _measure_flushes(directory)
    except OSError as error:
        return note("flush", f"could not be measured in {directory}: {error.strerror}")
    typical, worst = statistics.median(costs) * 1000, max(costs) * 1000
    detail = f"a flush to disk takes {typical:.2f} ms (worst of {len(costs)}: {worst:.1f} ms)"
    if typical > SLOW_FLUSH_SECONDS * 1000:
        advice = "use a faster disk, or find what keeps it busy"
        return warn("flush", f"{detail}: each webhook waits that long", advice)
    return ok("flush", detail)


def _measure_flushes(directory: Path) -> list[float]:
    costs = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(FLUSHES):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            costs.append(time.perf_counter() - begun)
    return costs
