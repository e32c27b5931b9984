"""The write gate: freed with the process that took it, and no wait behind a frozen process is for ever."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from convoq.db import Database, OpenMode
from convoq.db.gate import Gate
from convoq.errors import DatabaseUnavailable
from tests.db.notes import ROOT, continued, frozen, notes_in, put


async def test_behind_a_frozen_process_opening_ends_and_names_it(notes: Database) -> None:
    holder = await frozen(notes.path)
    with pytest.raises(DatabaseUnavailable, match=rf"process {holder.pid} \(.*python.*, stopped\) has held the") as why:
        await Database.open(notes.path, mode=OpenMode.EXISTING, gate_timeout=0.05)
    assert why.value.exit_code == 75
    await continued(holder)


async def test_a_write_that_gave_up_waiting_is_never_made_and_the_next_one_is(notes: Database) -> None:
    async with await Database.open(notes.path, clock=notes.clock, gate_timeout=0.05) as impatient:
        holder = await frozen(notes.path)
        with pytest.raises(DatabaseUnavailable, match="has held the write gate"):
            await impatient.write(put("given up"))
        with pytest.raises(DatabaseUnavailable, match="has held the write gate"):
            await impatient.write(put("given up again"))
        await continued(holder)
        async with asyncio.timeout(20):
            while isinstance(
                (await asyncio.gather(impatient.write(put("kept")), return_exceptions=True))[0], Exception
            ):
                pass
        assert await notes_in(notes) == ["kept"]


async def test_a_wait_that_was_given_up_leaves_the_gate_to_others(notes: Database) -> None:
    impatient = await Database.open(notes.path, clock=notes.clock, gate_timeout=0.05)
    holder = await frozen(notes.path)
    with pytest.raises(DatabaseUnavailable):
        await impatient.write(put("given up"))
    await continued(holder)
    async with asyncio.timeout(20):
        await notes.write(put("kept"))
    await impatient.close()


async def test_closing_behind_a_frozen_process_ends_too(notes: Database) -> None:
    impatient = await Database.open(notes.path, clock=notes.clock, gate_timeout=0.05)
    holder = await frozen(notes.path)
    async with asyncio.timeout(20):
        await impatient.close()
    await continued(holder)


def test_who_waits_with_a_deadline_stands_in_line_like_all_others(tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    gate = Gate(tmp_path / "gate", timeout=10)
    taken = os.open(tmp_path / "gate", os.O_RDWR)
    fcntl.flock(taken, fcntl.LOCK_EX)
    entered = threading.Event()

    def enter() -> None:
        with gate:
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    while f"{os.fstat(taken).st_ino} 0 EOF" not in "".join(
        line for line in Path("/proc/locks").read_text().splitlines() if "->" in line
    ):
        pass
    os.close(taken)
    waiting.join(10)
    assert entered.is_set()
    gate.close()


FORKING = """
import asyncio, os, sys
from pathlib import Path
from convoq.db import Database
from convoq.queue.sqlite.liveness import Liveness

def fork_and_die(_):
    if os.fork() == 0:
        os.close(1)
        os.execv("/bin/cat", ["cat"]) if sys.argv[2] == "exec" else sys.stdin.read()
        os._exit(0)
    os.kill(os.getpid(), 9)

async def main(path):
    database = await Database.open(Path(path))
    worker = Liveness(database.run_directory, "w")
    print("alive", flush=True)
    await database.write(fork_and_die)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("child", ["fork", "exec"])
async def test_a_child_that_outlives_its_parent_holds_neither_gate_nor_mark(notes: Database, child: str) -> None:
    from convoq.queue.sqlite.liveness import is_dead, known_workers

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKING, str(notes.path), child,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    async with asyncio.timeout(20):
        assert await process.wait() == -signal.SIGKILL
        await notes.write(put("the gate is free"))
    assert known_workers(notes.run_directory) == ["w"]
    assert is_dead(notes.run_directory, "w")
    process.stdin.close()  # until here the child has lived


ENDING_CHILD = """
import asyncio, os, sys
from pathlib import Path
from convoq.db import Database
from convoq.queue.sqlite.liveness import Liveness, is_dead
from tests.db.notes import put

async def main(path):
    database = await Database.open(Path(path))
    worker = Liveness(database.run_directory, "w")
    child = os.fork()
    if child == 0:
        worker.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_dead(database.run_directory, "w")
    await database.write(put("the parent goes on"))
    worker.close()
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_child_that_ends_in_order_takes_nothing_from_its_parent(notes: Database) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ENDING_CHILD, str(notes.path), cwd=ROOT)
    async with asyncio.timeout(20):
        assert await process.wait() == 0
    assert await notes_in(notes) == ["the parent goes on"]
