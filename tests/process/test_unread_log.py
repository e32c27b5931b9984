"""A role whose output nobody reads works on, ends in time, and says later how much was lost."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import pytest

from convoq.db import Database
from convoq.jobs import raw_job
from convoq.loopback.environment import environment, without_settings
from convoq.queue.opening import open_queue
from convoq.settings import Options
from tests.process.harness import LONGEST_WAIT, ROOT_PATH, Site

pytestmark = pytest.mark.process

CHATTY = """
import sys

async def handle(context):
    text = context.payload["text"]
    for stream in (sys.stdout, sys.stderr):
        for number in range(1000):
            print(text, number, "x" * 200, file=stream)
    if text == "flood":
        for number in range(60_000):
            print("y" * 100, file=sys.stderr)
    print("done", text)
    print("done", text, file=sys.stderr)
"""


class UnreadRole:
    """A role whose standard output and error are full pipes."""

    def __init__(self, process: asyncio.subprocess.Process, stdout: BinaryIO, stderr: BinaryIO) -> None:
        self.process = process
        self.stdout = stdout
        self.stderr = stderr

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        async with asyncio.timeout(LONGEST_WAIT):
            return await self.process.wait()


async def read(stream: BinaryIO, until: Callable[[bytes], bool]) -> list[bytes]:
    """Reads on, until a line of this kind has come."""

    def lines() -> list[bytes]:
        found = []
        for line in stream:
            found.append(line.rstrip(b"\n"))
            if until(found[-1]):
                return found
        raise AssertionError(f"ended without it: {found[-3:]!r}")

    return await asyncio.wait_for(asyncio.to_thread(lines), LONGEST_WAIT)


@asynccontextmanager
async def unread(site: Site, role: str, **env: str) -> AsyncIterator[UnreadRole]:
    readers, writers = zip(full_pipe(), full_pipe(), strict=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "convoq", role, cwd=site.directory, stdout=writers[0], stderr=writers[1],
        env=environment(without_settings(os.environ), {}) | ROOT_PATH | site.settings | env,
    )  # fmt: skip
    for writer in writers:
        os.close(writer)
    try:
        with os.fdopen(readers[0], "rb") as stdout, os.fdopen(readers[1], "rb") as stderr:
            yield UnreadRole(process, stdout, stderr)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def full_pipe() -> tuple[int, int]:
    """Reading and writing end; what is in it is one line."""
    reader, writer = os.pipe()
    os.write(writer, b"-" * (fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) - 1) + b"\n")
    return reader, writer


def event(name: str) -> Callable[[bytes], bool]:
    return lambda line: line.startswith(b"{") and json.loads(line)["event"] == name


async def test_a_worker_and_a_serve_that_nobody_reads_answer_everybody_and_end_in_time(site: Site) -> None:
    async with unread(site, "serve") as serve, unread(site, "work", CONVOQ_LOG__LEVEL="debug") as work:
        await site.until_ready()
        people = [f"whatsapp:+1555123{number:04d}" for number in range(30)]
        answers = await asyncio.gather(*(site.say("hello", sender=person) for person in people))
        assert {answer.status for answer in answers} == {200}
        await site.twilio.wait_for_messages(len(people))
        begun = time.monotonic()
        serve.terminate()
        work.terminate()
        assert set(await asyncio.gather(serve.ended(), work.ended())) == {0}
        assert time.monotonic() - begun < 15  # TimeoutStopSec of convoq-serve.service


async def printing(site: Site, *texts: str) -> None:
    """Has the worker's own handler run once for each text, as a job."""
    (site.directory / "chatty.py").write_text(CHATTY)
    (site.directory / "convoq.toml").write_text('[handlers]\n"shop.chat" = "chatty:handle"\n')
    async with await Database.open(site.database) as database, open_queue(database, Options()) as opened:
        jobs = [raw_job("shop.chat", {"text": text}, ordering_key="chat") for text in texts]
        await opened.queue.enqueue(jobs, max_attempts=1)


async def test_what_handlers_print_holds_no_worker_up_and_what_was_dropped_is_counted_in_one_event(site: Site) -> None:
    await printing(site, "one", "flood")
    async with unread(site, "work") as work:
        await site.until_quiet()
        printed = await read(work.stdout, lambda line: line == b"done flood")
        said = await read(work.stderr, lambda line: line == b"done flood")
        work.terminate()
        said += await read(work.stderr, event("role.stopped"))
        assert await work.ended() == 0
    numbers = [line.split(b" ")[1] for line in printed if b"x" * 200 in line]
    assert numbers == [b"%d" % number for number in range(1000)] * 2
    dropped: list[dict[str, Any]] = [json.loads(line) for line in said if event("log.dropped")(line)]
    assert [(notice["level"], notice["role"]) for notice in dropped] == [("warning", "work")]
    flood = sum(line == b"y" * 100 for line in said)
    assert 60_000 - flood < dropped[0]["records"] < 64_000 - flood
