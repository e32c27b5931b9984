"""Which processes hold a lock on a file, as the kernel tells."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Final

from convoq.text import printable

LONGEST_COMMAND: Final = 80  # characters


class LockTable:
    """Every file lock of this PID namespace at one moment; empty where the kernel does not tell.

    On btrfs it finds nothing: there a lock names another device than stat does.
    """

    def __init__(self, source: Path = Path("/proc/locks")) -> None:
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        try:
            lines = source.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            # "1: FLOCK ADVISORY WRITE 4711 fe:00:2173331 0 EOF"; one that waits has "->" in the second place.
            match line.split():
                case [_, kind, _, _, pid, file, _, _] if kind != "->":
                    self._holders[file].append(int(pid))

    def holders(self, file: os.stat_result) -> list[int]:
        """The processes that hold a lock on the file."""
        place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        return self._holders.get(place, [])


def holder_of(descriptor: int, *, besides: int | None = None) -> str | None:
    """A process that holds a lock on the open file, but for one; None where the kernel shows none."""
    pids = [pid for pid in LockTable().holders(os.fstat(descriptor)) if pid != besides]
    return describe_process(pids[0]) if pids else None


def describe_process(pid: int) -> str:
    """Its number, its command and, where that is so, that it is stopped: `process 4711 (convoq work, stopped)`."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        # The state follows the name, which stands in brackets and may hold some itself.
        stopped = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return f"process {pid}"
    return f"process {pid} ({printable(command)[:LONGEST_COMMAND]}{', stopped' if stopped else ''})"
