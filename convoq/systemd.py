"""Talks to systemd: readiness and watchdog messages, and the sockets that it hands over."""

from __future__ import annotations

import os
import socket
import time

FIRST_FD = 3  # sd_listen_fds(3): the handed-over descriptors start behind standard error


def notify(state: str) -> None:
    """Tells systemd a state such as "READY=1"; does nothing outside of it. Never raises and never blocks.

    Several assignments are separated by newlines, as in sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode("utf-8", "replace"), address)
    except (OSError, ValueError):
        # A service that cannot reach its supervisor still has people to answer; the watchdog notices silence.
        return


def is_manager() -> bool:
    """Whether systemd, or what stands in for it, started this very process and can ask it to reload."""
    # INVOCATION_ID alone proves nothing: every shell of a terminal that systemd started has inherited one.
    return bool(os.environ.get("NOTIFY_SOCKET")) or _number("SYSTEMD_EXEC_PID") == os.getpid()


def monotonic_usec() -> int:
    """The time that goes with "RELOADING=1"."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def watchdog_interval() -> float | None:
    """Seconds between two "WATCHDOG=1", half of what systemd allows; None when it doesn't watch this process."""
    allowed = _number("WATCHDOG_USEC")
    if not allowed or _number("WATCHDOG_PID") not in (None, os.getpid()):
        return None
    return allowed / 2_000_000


def listen_sockets() -> list[socket.socket]:
    """The sockets that systemd opened for this process, in the unit's order; none the second time.

    They are taken out of the environment and closed on exec, so that no child takes them for its own.
    """
    offered = _offered()
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return [_adopted(fd) for fd in offered]


def copy_listen_sockets() -> list[socket.socket]:
    """Copies of what listen_sockets() returns, which leave it to be taken: for a start that may still fail."""
    copies = []
    for fd in _offered():
        os.set_inheritable(fd, False)
        copies.append(_adopted(os.dup(fd)))
    return copies


def has_listen_sockets() -> bool:
    """Whether systemd opened sockets for this process that listen_sockets() has not taken yet."""
    return bool(_offered())


def _offered() -> range:
    count, owner = _number("LISTEN_FDS"), _number("LISTEN_PID")
    return range(FIRST_FD, FIRST_FD + count) if count and owner == os.getpid() else range(0)


def _adopted(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    adopted = socket.socket(fileno=fd)
    adopted.setblocking(False)
    return adopted


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None
