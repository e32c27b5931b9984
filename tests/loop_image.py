"""A filesystem of its own from which the power can be taken: what was not flushed to it is gone."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.skips import NOT_TO_BE_INSTALLED

Kind = Literal["ext4", "xfs"]
KINDS: Final[tuple[Kind, ...]] = ("ext4", "xfs")
_MAKE: Final = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
_BYTES: Final = 512 << 20  # sparse; mkfs.xfs refuses less than 300 MB
_SHUTDOWN: Final = 0x8004587D  # FS_IOC_SHUTDOWN of both: _IOR('X', 125, __u32)
_WITHOUT_FLUSH: Final = 2  # neither its log nor its data is written any more: no other way is like a power cut


class LoopImage:
    """A file that holds a filesystem, mounted at `place`."""

    def __init__(self, file: Path, place: Path, kind: Kind) -> None:
        self.place = place
        self._file = file
        self._mounted = False
        place.mkdir(parents=True)
        with file.open("wb") as made:
            made.truncate(_BYTES)
        _run(*_MAKE[kind], str(file))
        self.mount()

    def mount(self) -> None:
        """After a cut the filesystem's own log is replayed."""
        _run("mount", "-o", "loop", str(self._file), str(self.place))
        self._mounted = True

    def unmount(self) -> None:
        """Unmounting it again does nothing."""
        if self._mounted:
            _run("umount", str(self.place))
            self._mounted = False

    def cut(self) -> None:
        """From here on nothing reaches the disk, and every call on its files fails."""
        directory = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(directory)


def impossible() -> str | None:
    """Why no such filesystem can be mounted here."""
    for tool, package in (("losetup", "mount"), ("mkfs.ext4", "e2fsprogs"), ("mkfs.xfs", "xfsprogs")):
        if shutil.which(tool) is None:
            return f"{tool} is missing: install {package}"
    if os.geteuid() != 0:
        return f"{NOT_TO_BE_INSTALLED}: only root mounts a loop image"
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return None if found.returncode == 0 else f"{NOT_TO_BE_INSTALLED}: no loop device: {found.stderr.strip()}"


#: On tests that cut the power of a filesystem.
needs_loop_devices = pytest.mark.skipif(impossible() is not None, reason=str(impossible()))


@contextmanager
def loop_image(directory: Path, kind: Kind) -> Iterator[LoopImage]:
    """Its processes must have ended when this does."""
    image = LoopImage(directory / f"{kind}.img", directory / kind, kind)
    try:
        yield image
    finally:
        image.unmount()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
