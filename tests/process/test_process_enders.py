"""A real worker goes on whatever its jobs raise to end it, and still hears signals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convoq import connect
from tests.process.harness import Site

pytestmark = pytest.mark.process

HANDLERS = """
import asyncio

def leave(): raise SystemExit(3)

def interrupt(): raise KeyboardInterrupt

async def neighbour(job):
    await asyncio.to_thread(lambda: open(job.payload["fifo"]).read())

async def end(job):
    act = {"leave": leave, "interrupt": interrupt}[job.payload["act"]]
    async def run(): act()
    match job.payload["way"]:
        case "itself": act()
        case "task": await asyncio.wait([asyncio.create_task(run())])
        case "gather": await asyncio.gather(run(), asyncio.sleep(60))  # which is still under way then
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(run())
        case "thread": await asyncio.to_thread(act)
        case "callback":
            asyncio.get_running_loop().call_soon(act)
            await asyncio.sleep(0)  # its turn of the loop
"""
CONFIG = """
[database]
path = "convoq.db"
[handlers]
"shop.end" = "shop:end"
"shop.neighbour" = "shop:neighbour"
"""
TASKS = ["itself", "task", "gather", "group", "thread"]


async def test_a_worker_outlives_whatever_its_jobs_raise_and_ends_on_sigterm(site: Site, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(HANDLERS)
    (tmp_path / "convoq.toml").write_text(CONFIG)
    os.mkfifo(tmp_path / "fifo")
    worker = await site.start("work")
    await site.until(lambda: site.database.exists() and "role.started" in worker.output, "the worker has started")
    jobs = [(act, way) for act in ("leave", "interrupt") for way in [*TASKS, "callback"]]
    async with connect(tmp_path / "convoq.toml") as client:
        await client.enqueue("shop.neighbour", {"fifo": str(tmp_path / "fifo")})
        for act, way in jobs:
            await client.enqueue("shop.end", {"act": act, "way": way}, max_attempts=1)
    ended = "SELECT payload ->> 'way', state, error FROM jobs WHERE kind = 'shop.end' AND state <> 'ready'"
    await site.until(lambda: len(site.rows(ended)) == len(jobs), "every job has ended")
    found = site.rows(ended)
    assert {(way, state) for way, state, _ in found} == {*((way, "dead") for way in TASKS), ("callback", "done")}
    errors = [error for _, _, error in found if error]
    assert sum("the handler called sys.exit(3)" in error for error in errors) == len(TASKS)
    assert sum("the handler raised KeyboardInterrupt" in error for error in errors) == len(TASKS)
    refused = [event for event in worker.events if event.get("message") == "a callback tried to end the process"]
    assert len(refused) == 2
    with (tmp_path / "fifo").open("w"):
        pass
    await site.until(lambda: site.rows("SELECT state FROM jobs WHERE kind = 'shop.neighbour'") == [("done",)], "done")
    worker.terminate()
    assert await worker.ended() == 0
