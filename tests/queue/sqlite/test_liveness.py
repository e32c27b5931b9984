"""Workers of one machine find and wake each other, and a dead one leaves nothing that looks alive."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.jobs import NewJob
from convoq.queue.sqlite import liveness as presence
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.queue.sqlite.liveness import Liveness, Notifier, is_alive, known_workers, remove_dead


@pytest.fixture
def wakers(tmp_path: Path) -> Iterator[Notifier]:
    wakers = Notifier(tmp_path)
    yield wakers
    wakers.close()


async def woken(worker: Liveness) -> bool:
    """Whether a wake-up arrives; it is in the socket before wake() returns."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    was = worker.woken.is_set()
    worker.woken.clear()
    return was


async def test_a_worker_is_alive_while_it_is_present(tmp_path: Path) -> None:
    worker = Liveness(tmp_path, "w")
    assert is_alive(tmp_path, "w")
    worker.close()
    assert not is_alive(tmp_path, "w")


async def test_a_worker_that_left_in_order_leaves_no_mark(tmp_path: Path) -> None:
    Liveness(tmp_path, "w").close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 # in an async function


def test_a_worker_nobody_heard_of_is_not_alive(tmp_path: Path) -> None:
    assert not is_alive(tmp_path, "w")


def test_a_killed_worker_leaves_a_mark_that_is_not_alive(tmp_path: Path) -> None:
    program = """if True:
        import asyncio, os, sys
        from pathlib import Path
        from convoq.queue.sqlite.liveness import Liveness, is_alive
        async def main():
            Liveness(Path(sys.argv[1]), "w")
            assert is_alive(Path(sys.argv[1]), "w")
            os.kill(os.getpid(), 9)
        asyncio.run(main())
    """
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    assert known_workers(tmp_path) == ["w"]
    assert not is_alive(tmp_path, "w")


def test_sweeping_removes_a_dead_workers_mark(tmp_path: Path) -> None:
    (tmp_path / "w.alive").touch()
    (tmp_path / "w.wake").touch()
    remove_dead(tmp_path, "w")
    remove_dead(tmp_path, "w")
    assert list(tmp_path.iterdir()) == []


async def test_sweeping_leaves_a_worker_alone_that_began_meanwhile(tmp_path: Path) -> None:
    # It had made its file, but not yet locked it, when somebody looked.
    (tmp_path / "w.alive").touch()
    assert not is_alive(tmp_path, "w")
    worker = Liveness(tmp_path, "w")
    remove_dead(tmp_path, "w")
    assert is_alive(tmp_path, "w")
    assert (tmp_path / "w.wake").exists()
    worker.close()


async def test_everybody_is_woken(tmp_path: Path, wakers: Notifier) -> None:
    workers = [Liveness(tmp_path, name) for name in ("a", "b")]
    wakers.wake()
    assert [await woken(worker) for worker in workers] == [True, True]
    for worker in workers:
        worker.close()


async def test_many_wake_ups_are_one(tmp_path: Path, wakers: Notifier) -> None:
    worker = Liveness(tmp_path, "w")
    for _ in range(5000):  # more than its socket holds
        wakers.wake()
    assert await woken(worker)
    assert not await woken(worker)
    worker.close()


async def test_a_worker_that_comes_later_is_found(tmp_path: Path, wakers: Notifier) -> None:
    wakers.wake()
    worker = Liveness(tmp_path, "late")
    wakers.wake()
    assert await woken(worker)
    worker.close()


async def test_a_worker_that_comes_within_the_same_tick_is_found(tmp_path: Path, wakers: Notifier) -> None:
    tick = time.time_ns() + 3600 * 10**9  # one that is not over when the directory is listed
    os.utime(tmp_path, ns=(tick, tick))
    wakers.wake()
    worker = Liveness(tmp_path, "late")
    os.utime(tmp_path, ns=(tick, tick))
    wakers.wake()
    assert await woken(worker)
    worker.close()


async def test_a_dead_workers_socket_disturbs_nobody(tmp_path: Path, wakers: Notifier) -> None:
    (tmp_path / "dead.wake").touch()
    worker = Liveness(tmp_path, "w")
    wakers.wake()
    assert await woken(worker)
    worker.close()


async def test_a_run_directory_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    wakers = Notifier(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    wakers.wake()
    wakers.close()


async def test_a_directory_with_a_long_name_has_sockets_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    worker, wakers = Liveness(deep, "w"), Notifier(deep)
    wakers.wake()
    assert await woken(worker)
    worker.close()
    wakers.close()
    presence._descriptors.pop(deep)


async def test_an_enqueue_wakes_a_waiting_worker_at_once(database: Database) -> None:
    producer, worker = SqliteQueue(database), SqliteQueue(database)
    await worker.register("w")
    waiting = asyncio.create_task(worker.wait(60))
    await asyncio.sleep(0)
    await producer.enqueue([NewJob(kind="k", payload="{}")], max_attempts=1)
    async with asyncio.timeout(0.4):  # less than the slow look that is the net
        await waiting
    await worker.close()
    await producer.close()
