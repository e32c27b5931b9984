"""What the database's file and disk must be like before and while it is used."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable

# SQLite's locks and its shared memory need one kernel: on these, WAL corrupts or deadlocks.
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "afs", "fuse.sshfs", "fuse.s3fs"}
    | {"fuse.glusterfs", "fuse.rclone", "davfs", "fuse.davfs2", "lustre", "ocfs2", "gfs2", "beegfs"}
)
MEGABYTE = 1 << 20


# What passes by itself or by an operator's hand on the machine, not on convoq's files: worth another try.
PASSING = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk is full: free some space",
    errno.EIO: "the disk failed: look at the kernel's log",
    errno.EROFS: "the disk cannot be written: look at its mount, and at the kernel's log for why it was made read-only",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "this machine has too many files open",
    errno.ENOMEM: "out of memory",
}


class FileId(NamedTuple):
    """What tells two files of a machine apart, whatever they are called."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileId:
        return cls(status.st_dev, status.st_ino)

    @classmethod
    def at(cls, path: Path) -> FileId | None:
        """None where there is no file. Raises DatabaseUnavailable when the disk does not tell."""
        try:
            return cls.of(os.stat(path))  # noqa: PTH116 # half of what Path.stat costs, and asked for every commit
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise uncreated(path, error, "it must belong to the user that runs convoq") from error


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def shared_memory_of(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def run_directory_of(path: Path) -> Path:
    return path.with_name(path.name + ".run")


def uncreated(path: Path, error: OSError, advice: str) -> ConvoqError:
    """What it means that a file or directory could not be made or looked at: whether trying again can help."""
    if error.errno in PASSING:
        return DatabaseUnavailable(f"{path}: {PASSING[error.errno]} ({error.strerror})")
    return DatabaseRefused(f"{path}: {error.strerror}: {advice}")


def create_private(path: Path) -> None:
    """Creates an empty file for the owner alone. Raises FileExistsError."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def publish(partial: Path, path: Path) -> None:
    """Gives a complete file its name, flushed. Raises FileExistsError where the name is taken."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(partial, path)  # unlike a rename it never replaces a file
    except FileExistsError:
        raise
    except OSError:
        os.rename(partial, path)  # noqa: PTH104  # a filesystem without hard links
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def give_to_owner_of(reference: Path, *paths: Path) -> None:
    """What root makes belongs to the owner of what it is made beside: the service must be able to use it."""
    if os.geteuid() == 0:
        owner = reference.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


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
