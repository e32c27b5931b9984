"""Workers of one machine find and wake each other, and a dead one leaves nothing that looks alive."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from convoq.db import Database
from convoq.jobs import NewJob
from convoq.queue.sqlite import liveness as presence
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.queue.sqlite.liveness import Liveness, Notifier, is_dead, known_workers, remove_dead


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


def leave_dead_mark(directory: Path) -> None:
    """A worker "w" begins in a process of its own and is killed."""
    program = """if True:
        import asyncio, os, sys
        from pathlib import Path
        from convoq.queue.sqlite.liveness import Liveness
        async def main():
            Liveness(Path(sys.argv[1]), "w")
            os.kill(os.getpid(), 9)
        asyncio.run(main())
    """
    assert subprocess.run([sys.executable, "-c", program, str(directory)], check=False).returncode == -9


async def test_a_present_worker_is_not_dead(tmp_path: Path) -> None:
    worker = Liveness(tmp_path, "w")
    assert not is_dead(tmp_path, "w")
    worker.close()


async def test_a_worker_that_left_in_order_leaves_no_mark(tmp_path: Path) -> None:
    Liveness(tmp_path, "w").close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 # in an async function


def test_a_killed_worker_leaves_a_mark_that_proves_its_death(tmp_path: Path) -> None:
    leave_dead_mark(tmp_path)
    assert known_workers(tmp_path) == ["w"]
    assert is_dead(tmp_path, "w")


def test_sweeping_removes_a_dead_workers_mark(tmp_path: Path) -> None:
    leave_dead_mark(tmp_path)
    remove_dead(tmp_path, "w")
    remove_dead(tmp_path, "w")
    assert list(tmp_path.iterdir()) == []


async def test_sweeping_leaves_a_worker_alone_that_began_meanwhile(tmp_path: Path) -> None:
    leave_dead_mark(tmp_path)
    worker = Liveness(tmp_path, "w")
    remove_dead(tmp_path, "w")
    assert (tmp_path / "w.alive").exists()
    assert (tmp_path / "w.wake").exists()
    worker.close()


# --- What proves no death


def test_a_mark_that_is_not_there_proves_no_death(tmp_path: Path) -> None:
    assert not is_dead(tmp_path, "w")
    assert not is_dead(tmp_path / "gone", "w")


def test_an_empty_mark_proves_no_death(tmp_path: Path) -> None:
    (tmp_path / "w.alive").touch()
    assert not is_dead(tmp_path, "w")


@pytest.mark.parametrize("name", ["w", "other"])
def test_a_copy_of_a_mark_proves_no_death(tmp_path: Path, name: str) -> None:
    leave_dead_mark(tmp_path)
    (tmp_path / "backup").mkdir()
    shutil.copy2(tmp_path / "w.alive", tmp_path / "backup" / f"{name}.alive")
    assert not is_dead(tmp_path / "backup", name)


def test_a_mark_under_another_name_proves_no_death(tmp_path: Path) -> None:
    leave_dead_mark(tmp_path)
    (tmp_path / "w.alive").rename(tmp_path / "other.alive")
    assert not is_dead(tmp_path, "other")


def test_a_mark_that_cannot_be_opened_proves_no_death(tmp_path: Path) -> None:
    (tmp_path / "w.alive").symlink_to("w.alive")
    assert not is_dead(tmp_path, "w")


def test_a_mark_that_is_no_file_proves_no_death(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.alive")
    (tmp_path / "d.alive").mkdir()
    assert not is_dead(tmp_path, "w")
    assert not is_dead(tmp_path, "d")


def test_nothing_is_proven_while_no_descriptor_is_left(tmp_path: Path) -> None:
    leave_dead_mark(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        dead = is_dead(tmp_path, "w")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not dead
    assert is_dead(tmp_path, "w")


# --- A mark that went is put back


async def test_a_mark_in_its_place_is_left_alone(tmp_path: Path) -> None:
    worker = Liveness(tmp_path, "w")
    before = (tmp_path / "w.alive").stat().st_ino
    assert not worker.restore()
    assert (tmp_path / "w.alive").stat().st_ino == before
    worker.close()


def marks(directory: Path) -> list[Path]:
    """All but the gate: without that one the database refuses every write."""
    return [path for path in directory.iterdir() if path.name != "gate"]


def empty(directory: Path) -> None:
    for path in marks(directory):
        path.unlink()


def replace_by_copies(directory: Path) -> None:
    for path in marks(directory):
        path.unlink()
        path.write_text("restored from a backup")


def take_away(directory: Path) -> None:
    directory.rename(directory.with_name("away"))


LOSSES = [empty, shutil.rmtree, replace_by_copies, take_away]


@pytest.mark.parametrize("deep", ["", "d" * 100], ids=["short", "long"])
@pytest.mark.parametrize("lose", LOSSES)
async def test_a_mark_that_is_gone_is_put_back_and_wakes_again(
    tmp_path: Path, lose: Callable[[Path], None], deep: str
) -> None:
    directory = tmp_path / deep / "run"
    directory.mkdir(parents=True)
    worker, wakers = Liveness(directory, "w"), Notifier(directory)
    wakers.wake()
    assert await woken(worker)
    lose(directory)
    assert worker.restore()
    assert not worker.restore()
    worker.woken.clear()
    wakers.wake()
    assert await woken(worker)
    assert not is_dead(directory, "w")
    worker.close()
    wakers.close()
    assert list(directory.iterdir()) == []
    if descriptor := presence._descriptors.pop(directory, None):
        os.close(descriptor)


async def test_a_directory_that_comes_back_with_the_old_mark_proves_no_death(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    worker = Liveness(tmp_path / "run", "w")
    (tmp_path / "run").rename(tmp_path / "away")
    worker.restore()
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "away").rename(tmp_path / "run")
    assert not is_dead(tmp_path / "run", "w")
    worker.close()


async def test_a_socket_that_is_gone_is_put_back(tmp_path: Path, wakers: Notifier) -> None:
    worker = Liveness(tmp_path, "w")
    (tmp_path / "w.wake").unlink()
    assert worker.restore()
    worker.woken.clear()
    wakers.wake()
    assert await woken(worker)
    worker.close()


@pytest.fixture
async def two_workers(database: Database) -> AsyncIterator[tuple[SqliteQueue, SqliteQueue]]:
    holder, other = SqliteQueue(database), SqliteQueue(database)
    await holder.register("holder")
    await other.register("other")
    yield holder, other
    await holder.close()
    await other.close()


@pytest.mark.parametrize("lose", [*LOSSES[:1], *LOSSES[2:3]])
async def test_workers_that_lost_their_marks_take_no_claims_of_each_other(
    database: Database, two_workers: tuple[SqliteQueue, SqliteQueue], lose: Callable[[Path], None]
) -> None:
    holder, other = two_workers
    await other.enqueue([NewJob(kind="k", payload="{}")], max_attempts=1)
    [claim] = await holder.claim(1, lease=60, worker="holder")
    lose(database.run_directory)
    assert await other.recover() == 0
    assert await holder.recover() == 0
    assert await other.recover() == 0
    assert await other.claim(1, lease=60, worker="other") == []
    await holder.ack(claim)


async def test_a_lost_mark_is_reported_once(database: Database, two_workers: tuple[SqliteQueue, SqliteQueue]) -> None:
    holder, _ = two_workers
    with capture_logs() as events:
        empty(database.run_directory)
        for _ in range(3):
            await holder.recover()
    assert [event["event"] for event in events] == ["worker.mark_restored"]


async def test_a_mark_that_cannot_be_put_back_is_reported_once_and_put_back_later(
    database: Database, two_workers: tuple[SqliteQueue, SqliteQueue]
) -> None:
    holder, _ = two_workers
    (database.run_directory / "holder.alive").unlink()
    obstacle = database.run_directory / "holder.alive"
    obstacle.mkdir()
    with capture_logs() as events:
        for _ in range(3):
            assert await holder.recover() == 0
        obstacle.rmdir()
        await holder.recover()
    assert [event["event"] for event in events] == ["worker.unmarked", "worker.mark_restored"]


# --- Waking


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
    producer, worker = SqliteQueue(database), SqliteQueue(database, look=60)
    await worker.register("w")
    waiting = asyncio.create_task(worker.wait(60))
    await asyncio.sleep(0)
    await producer.enqueue([NewJob(kind="k", payload="{}")], max_attempts=1)
    async with asyncio.timeout(10):
        await waiting
    await worker.close()
    await producer.close()
