"""Which processes of convoq have been seen on this database."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convoq import __version__
from convoq.clock import since_boot
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.monitoring.roles import SILENT_AFTER_SECONDS

FORGET_AFTER_MS = 24 * 3_600_000
INITIAL_NAMESPACE = "pid:[4026531836]"  # the machine's own, always this number (include/linux/proc_ns.h)
BIRTH_SLACK_MS = 1000  # the kernel counts in ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process as operators see it. Times are ms on the queue's clock."""

    id: str
    role: str
    host: str
    pid: int
    version: str
    started_at: int
    seen_at: int
    status: str
    gone: bool = False  #: it runs no longer and did not end in order

    def silence(self, now: int) -> float:
        """Seconds since it was seen; `now` is ms on the queue's clock."""
        return max(0, now - self.seen_at) / 1000


class Processes:
    """The table that every process writes itself into."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def announce(self, process_id: str, role: str, status: str) -> None:
        """This process is alive, and does this."""
        now = self._database.clock.now()
        row = (process_id, role, _here(), os.getpid(), __version__, now, now, status)
        await self._database.write(_announce, row, now - FORGET_AFTER_MS, durable=False)

    async def leave(self, process_id: str) -> None:
        """This process has ended in order."""
        await self._database.write(_leave, process_id, durable=False)

    async def seen(self) -> list[ProcessRecord]:
        """Those that run, and those of the last day that did not end in order and were not started again."""
        found = await self._database.read(lambda tx: tx.execute(SEEN).fetchall())
        booted_at = self._database.clock.now() - since_boot()
        records = [_record(row, booted_at) for row in found]
        return [record for record in records if not (record.gone and _replaced(record, records))]

    async def running(self) -> list[ProcessRecord]:
        """Those that were seen just now, and have not ended since."""
        now = self._database.clock.now()
        return [one for one in await self.seen() if not one.gone and one.silence(now) <= SILENT_AFTER_SECONDS]


ProcessRow = tuple[str, str, str, int, str, int, int, str]  # in the order of SEEN and ANNOUNCE


def _announce(tx: Transaction, row: ProcessRow, forget_before: int) -> None:
    tx.execute(ANNOUNCE, row)
    tx.execute("DELETE FROM processes WHERE seen_at < ?", (forget_before,))


def _leave(tx: Transaction, process_id: str) -> None:
    # First those that it has replaced: without it, they would count as killed and never started again.
    tx.execute(FORGET_REPLACED, (process_id,))
    tx.execute("DELETE FROM processes WHERE id = ?", (process_id,))


def _record(row: ProcessRow, booted_at: int) -> ProcessRecord:
    process_id, role, host, pid, version, started_at, seen_at, status = row
    gone = host == _here() and not _runs(pid, started_at - booted_at)
    return ProcessRecord(
        id=process_id, role=role, host=host, pid=pid, version=version, started_at=started_at, seen_at=seen_at,
        status=status, gone=gone,
    )  # fmt: skip


def _here() -> str:
    """This machine, as far as a process id means the same process: containers that share a name may count apart."""
    name = socket.gethostname()
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return name
    return name if namespace == INITIAL_NAMESPACE else f"{name} ({namespace})"


def _runs(pid: int, announced: int) -> bool:
    """Whether the process that announced itself so many ms after this boot runs on this machine."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's; where /proc is hidden, nothing more can be known
    state, *fields = stat.rpartition(")")[2].split()
    # A process that started later than the announcement has only reused the pid.
    born = int(fields[18]) * 1000 // os.sysconf("SC_CLK_TCK")
    return state != "Z" and born <= announced + BIRTH_SLACK_MS


def _replaced(record: ProcessRecord, records: Sequence[ProcessRecord]) -> bool:
    return any(other.role == record.role and other.started_at > record.seen_at for other in records)


SEEN = """
    SELECT id, role, host, pid, version, started_at, seen_at, status FROM processes ORDER BY role, started_at
"""
ANNOUNCE = """
    INSERT INTO processes (id, role, host, pid, version, started_at, seen_at, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, status = excluded.status
"""
FORGET_REPLACED = """
    DELETE FROM processes AS other WHERE EXISTS (
        SELECT 1 FROM processes AS this
        WHERE this.id = ? AND other.role = this.role AND other.host = this.host AND other.seen_at < this.started_at)
"""
