"""Which processes keep the write-ahead log from being emptied, by a read transaction that they do not end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from convoq.db.connection import AUTOCHECKPOINT_PAGES
from convoq.text import printable

#: The bytes of the -shm file that SQLite locks for its five read marks (UNIX_SHM_BASE and WAL_READ_LOCK).
READ_MARKS: Final = range(123, 128)
#: Twice of what the log comes to between two checkpoints, in pages of 2 kB: only a reader lets it grow that far.
LARGE_LOG: Final = 2 * AUTOCHECKPOINT_PAGES * 2048
LOOKS: Final = 6
PAUSE_SECONDS: Final = 0.05  # between two looks; a transaction of our own is over by the next one
LONGEST_COMMAND: Final = 120
HELD_BY: Final = "it cannot be emptied past the open read transaction of"
END_READER: Final = "end its transaction or the process; the next housekeeping empties the log"


class LogReader(NamedTuple):
    """A process with a read transaction on the file. As text: for people."""

    pid: int
    command: str  #: as it was started

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """The log, and the processes that hold it when it is large; without `readers`, none that this one can see."""

    bytes: int
    large: bool
    readers: tuple[LogReader, ...] = ()

    @property
    def holders(self) -> str:
        return " and ".join(map(str, self.readers))


async def examine_log(database: Path, *, large: int = LARGE_LOG) -> LogState:
    """How large the log is; from `large` bytes on also its steady readers, which takes part of a second.

    Opens none of the database's files: closing one would drop the locks that SQLite holds on it in this process.
    """
    size = log_bytes(database)
    if size < large:
        return LogState(bytes=size, large=False)
    steady = set(_reading(database))
    for _ in range(LOOKS - 1):
        await asyncio.sleep(PAUSE_SECONDS)
        steady &= set(_reading(database))
    pids = sorted({pid for pid, _ in steady})
    return LogState(bytes=size, large=True, readers=tuple(LogReader(pid, _command(pid)) for pid in pids))


def log_bytes(database: Path) -> int:
    try:
        return database.with_name(database.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _reading(database: Path) -> Iterator[tuple[int, int]]:
    """Process and read mark of each lock; none where the kernel does not show them."""
    try:
        inode = database.with_name(database.name + "-shm").stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in locks:
        # 12: POSIX  ADVISORY  READ 4711 fd:01:131 124 124, or with "->" where a process waits for a lock
        fields = line.split()
        if fields[1] != "POSIX" or fields[3] != "READ" or fields[5].rpartition(":")[2] != str(inode):
            continue
        first, last = int(fields[6]), READ_MARKS.stop if fields[7] == "EOF" else int(fields[7])
        yield from ((int(fields[4]), mark) for mark in READ_MARKS if first <= mark <= last)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "not to be seen from here"
    command = printable(b" ".join(words).decode("utf-8", "replace"))
    return command if len(command) <= LONGEST_COMMAND else f"{command[:LONGEST_COMMAND]}..."
