"""Descriptors that a forked child does not keep: a lock on one of them ends with the process that took it."""

from __future__ import annotations

import os
from pathlib import Path
from threading import RLock

_guard = RLock()
_private: set[int] = set()


def open_private(path: Path, flags: int) -> int:
    """A descriptor that neither an exec nor a fork hands down. A file that it creates is its owner's alone."""
    with _guard:
        return keep_private(os.open(path, flags | os.O_CLOEXEC, 0o600))


def duplicate_private(descriptor: int) -> int:
    with _guard:
        return keep_private(os.dup(descriptor))


def keep_private(descriptor: int) -> int:
    """Has every child that is forked from now on close its copy."""
    with _guard:
        _private.add(descriptor)
    return descriptor


def is_private(descriptor: int) -> bool:
    """Whether it is one of this process's own; false in a forked child."""
    return descriptor in _private


def close_private(descriptor: int) -> None:
    """Closing it again does nothing: the number may be another file's by then."""
    with _guard:
        if descriptor in _private:
            _private.discard(descriptor)
            os.close(descriptor)


def _close_in_child() -> None:
    """flock belongs to the open file, which a child shares: its copy would keep the lock when its parent is killed."""
    for descriptor in _private:
        os.close(descriptor)
    _private.clear()
    _guard.release()


# The guard is held across a fork: else a child could get a descriptor that is opened but not yet written down.
os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_close_in_child)
