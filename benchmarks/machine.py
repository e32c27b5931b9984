"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from convoq.db.files import filesystem

PACKAGES: Final = (
    "convoq",
    "aiohttp",
    "aiosqlite",
    "twilio",
    "pydantic-ai-slim",
    "huey",
    "procrastinate",
    "saq",
    "psycopg",
    "taskiq",
    "taskiq-redis",
    "redis",
)


def facts(directory: Path) -> dict[str, str]:
    """The machine, its disk and the versions, in words."""
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Disk": f"{filesystem(directory) or 'unknown file system'}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "Packages": ", ".join(_packages()),
        "redis-server": _redis(),
    }


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()


def _packages() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def _redis() -> str:
    if shutil.which("redis-server") is None:
        return "not installed"
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\S+)", said)
    return found[1] if found else "unknown version"
