"""What the database's file and disk must be like before and while it is used."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable

# SQLite's locks and its shared memory need one kernel: on these, WAL corrupts or deadlocks.
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "afs", "fuse.sshfs", "fuse.s3fs"}
    | {"fuse.glusterfs", "fuse.rclone", "davfs", "fuse.davfs2", "lustre", "ocfs2", "gfs2", "beegfs"}
)
MEGABYTE = 1 << 20


def prepare(path: Path) -> tuple[Path, Path]:
    """Creates the file (0600) and its run directory (0700) where missing; returns both, absolute.

    Raises DatabaseRefused on a network filesystem or where nothing can be written, DatabaseUnavailable on a full disk.
    """
    # Through links too: two names of one file must share one gate.
    path = path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network_filesystem(path.parent)
        run = path.with_name(path.name + ".run")
        run.mkdir(mode=0o700, exist_ok=True)
        create_private(path)
    except OSError as error:
        raise uncreated(path, error, "convoq needs a directory of its own that it can write to") from error
    return path, run


def uncreated(path: Path, error: OSError, advice: str) -> ConvoqError:
    """What it means that a file or directory could not be made: only a full disk passes by itself."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DatabaseUnavailable(f"{path}: the disk is full: free some space ({error.strerror})")
    return DatabaseRefused(f"{path}: {error.strerror}: {advice}")


def create_private(path: Path) -> None:
    """Creates an empty file for the owner alone. One that is there isn't opened: closing it drops SQLite's locks."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise DatabaseRefused(f"{path}: is not a file") from None


def refuse_network_filesystem(directory: Path) -> None:
    kind = filesystem(directory)
    if kind in NETWORK_FILESYSTEMS:
        raise DatabaseRefused(f"{directory}: is on {kind}, a network filesystem: put [database] path on a local disk")


def filesystem(directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the filesystem that holds a directory, or None where the kernel does not tell."""
    resolved = directory.resolve()
    best: tuple[int, str] | None = None
    try:
        lines = mountinfo.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        # Spaces in a mount point are written as octal escapes (proc(5)).
        mount = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields.split()[4]))
        if resolved.is_relative_to(mount) and (best is None or len(mount.parts) >= best[0]):
            best = (len(mount.parts), rest.split()[0])
    return best[1] if best else None


class Identity:
    """Notices when another file stands at the path: ours was moved, replaced or deleted while in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def check(self) -> None:
        """Raises DatabaseRefused when the path no longer names the file that was opened."""
        if self._look() != self._seen:
            raise DatabaseRefused(
                f"{self._path}: the file was moved, replaced or deleted while convoq was running: "
                "stop all three roles, put the right file in place without the old -wal and -shm beside it, start again"
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def is_full(directory: Path) -> bool:
    """Whether nothing of any size can be written there."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < MEGABYTE or bool(disk.f_files and not disk.f_favail)


class FreeSpace:
    """Says whether the disk has room for new promises: at least `min_free_mb` and 5 % of it (1 GB at most)."""

    def __init__(self, directory: Path, min_free_mb: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._least = min_free_mb * MEGABYTE
        self._monotonic = monotonic
        self._asked = float("-inf")
        self._enough = True

    def enough(self) -> bool:
        """Cheap enough for every webhook: asks the disk once a second."""
        if self._least and self._monotonic() - self._asked >= 1.0:
            self._asked = self._monotonic()
            self._enough = self._look()
        return self._enough

    def _look(self) -> bool:
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return False
        watermark = max(self._least, min(disk.f_blocks * disk.f_frsize // 20, 1024 * MEGABYTE))
        room_for_files = not disk.f_files or disk.f_favail > 64
        return disk.f_bavail * disk.f_frsize >= watermark and room_for_files
