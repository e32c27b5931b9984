"""Handlers that block the event loop of a real worker: no other worker runs their job, and none blocks for ever."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from convoq import connect
from tests.process import impatient_worker
from tests.process.harness import Process, Site

pytestmark = pytest.mark.process

HANDLERS = """
import asyncio, os

async def block(job):
    with open(job.payload["started"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    open(job.payload["fifo"]).read()  # until it is written: the loop stands still

async def wait(job):
    with open(job.payload["started"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    await asyncio.to_thread(lambda: open(job.payload["fifo"]).read())
"""
CONFIG = """
[database]
path = "convoq.db"
[handlers]
"shop.block" = "shop:block"
"shop.wait" = "shop:wait"
"""


@pytest.fixture
def shop(site: Site, tmp_path: Path) -> dict[str, Any]:
    """The payload of a job that lasts until its fifo is written."""
    (tmp_path / "shop.py").write_text(HANDLERS)
    (tmp_path / "convoq.toml").write_text(CONFIG)
    os.mkfifo(tmp_path / "fifo")
    return {"fifo": str(tmp_path / "fifo"), "started": str(tmp_path / "started")}


def pids_of_starts(shop: dict[str, Any]) -> list[int]:
    return [int(pid) for pid in Path(shop["started"]).read_text().split()]


def let_go(shop: dict[str, Any]) -> None:
    Path(shop["fifo"]).write_text("")


async def start(site: Site, *program: str, **env: str) -> Process:
    worker = await site.start("work", program=program or ("-m", "convoq"), **env)
    await site.until(lambda: "role.started" in worker.output, "the worker has started")
    return worker


async def enqueue(site: Site, kind: str, payload: dict[str, Any]) -> str:
    async with connect(site.directory / "convoq.toml") as client:
        job_id = (await client.enqueue(kind, payload)).job_id
    await site.until(Path(payload["started"]).exists, "the job has started")
    return job_id


def named(worker: Process, name: str) -> list[dict[str, Any]]:
    return [event for event in worker.events if event["event"] == name]


async def test_two_workers_never_run_one_job_because_its_handler_blocks_the_loop(
    site: Site, shop: dict[str, Any]
) -> None:
    workers = [await start(site, CONVOQ_QUEUE__VISIBILITY_TIMEOUT="1") for _ in range(2)]
    job_id = await enqueue(site, "shop.block", shop)
    [(until,)] = site.rows("SELECT due_at FROM lanes")
    await site.until(
        lambda: site.rows("SELECT due_at > ? + 2000 FROM lanes", until) == [(1,)], "renewed twice and more"
    )
    [holder] = [worker for worker in workers if pids_of_starts(shop) == [worker.pid]]
    [blocked] = named(holder, "loop.blocked")
    assert (blocked["kind"], blocked["job_id"]) == ("shop.block", job_id)
    assert blocked["where"].startswith("shop.py:7 block < ")
    let_go(shop)
    await site.until_quiet()
    assert site.rows("SELECT state, attempt FROM jobs") == [("done", 1)]
    await site.until(lambda: bool(named(holder, "loop.free")), "the length of the block is told")


async def test_a_handler_that_blocks_the_loop_beyond_its_deadline_has_the_process_replaced(
    site: Site, shop: dict[str, Any]
) -> None:
    worker = await start(
        site, str(Path(impatient_worker.__file__)), CONVOQ_WORK__DEADLINE="1", CONVOQ_AI__TIMEOUT="0.4"
    )
    job_id = await enqueue(site, "shop.block", shop)
    assert await worker.ended() == 1
    [stuck] = named(worker, "handler.stuck")
    assert (stuck["kind"], stuck["job_id"]) == ("shop.block", job_id)
    assert stuck["where"].startswith("shop.py:7 block < ")
    assert worker.events[-1]["event"] == "worker.replaced"
    await start(site)
    await site.until(lambda: site.rows("SELECT crashes FROM lanes") == [(1,)], "the next worker takes it over")
    let_go(shop)
    await site.until_quiet()


async def test_a_worker_that_was_paused_did_not_block_its_loop(site: Site, shop: dict[str, Any]) -> None:
    worker = await start(site)
    await enqueue(site, "shop.wait", shop)
    [pid] = pids_of_starts(shop)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(1.5)  # the pause
    os.kill(pid, signal.SIGCONT)
    let_go(shop)
    await site.until_quiet()
    worker.terminate()
    assert await worker.ended() == 0
    assert named(worker, "loop.blocked") == []
