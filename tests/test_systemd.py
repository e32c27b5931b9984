"""What systemd hears from us and hands to us, over real sockets and processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq import systemd


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_notify_reaches_a_socket_in_the_file_system(supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.getsockname())
    systemd.notify("READY=1\nSTATUS=taking webhooks")
    assert supervisor.recv(4096) == b"READY=1\nSTATUS=taking webhooks"


def test_notify_reaches_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0convoq-test-{os.getpid()}")
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@convoq-test-{os.getpid()}")
        systemd.notify("WATCHDOG=1")
        assert receiver.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1234", "/nowhere/notify", "/" + "x" * 200, "@"])
def test_notify_without_a_supervisor_does_nothing(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


def test_notify_does_not_wait_for_a_supervisor_that_does_not_read(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.getsockname())
    for _ in range(2000):
        systemd.notify("WATCHDOG=1")


def test_watchdog_is_fed_twice_per_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_interval() == 5.0


def test_watchdog_without_a_pid_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert systemd.watchdog_interval() == 1.5


@pytest.mark.parametrize(("usec", "pid"), [("", ""), ("0", ""), ("soon", ""), ("-5", ""), ("10000000", "1")])
def test_no_watchdog_for_this_process(usec: str, pid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog_interval() is None


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert systemd.listen_sockets() == []
    assert "LISTEN_FDS" not in os.environ


def test_handed_over_sockets_are_taken_once_and_not_inherited(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert _as_systemd_would(listener, tmp_path).split() == [
            str(listener.getsockname()[1]),
            "inheritable=False",
            "blocking=False",
            "again=0",
            "environment=[]",
        ]


TAKING = """
taken, = systemd.listen_sockets()
print(taken.getsockname()[1], f"inheritable={taken.get_inheritable()}", f"blocking={taken.getblocking()}")
print(f"again={len(systemd.listen_sockets())}")
print(f"environment={[name for name in os.environ if name.startswith('LISTEN_')]}")
"""

COPYING = """
copy, = systemd.copy_listen_sockets()
name = copy.getsockname()
print(copy.get_inheritable(), copy.getblocking(), os.get_inheritable(3), systemd.has_listen_sockets())
copy.close()
taken, = systemd.listen_sockets()
print(taken.getsockname() == name, systemd.has_listen_sockets())
"""


def test_a_copy_of_a_handed_over_socket_leaves_it_to_be_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert _as_systemd_would(listener, tmp_path, COPYING).splitlines() == ["False False False True", "True False"]


def _as_systemd_would(listener: socket.socket, tmp_path: Path, program: str = TAKING) -> str:
    """Runs a child that finds the listener at descriptor 3, and returns what it saw."""
    child = tmp_path / "child.py"
    begin = f"""
import os
os.dup2({listener.fileno()}, 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="convoq.socket")
from convoq import systemd
"""
    child.write_text(begin + program)
    done = subprocess.run(
        [sys.executable, str(child)],
        pass_fds=[listener.fileno()],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
