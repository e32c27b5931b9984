"""What becomes of the queue when its connections are lost, or its server is."""

from __future__ import annotations

import asyncio
import signal

import pytest
from structlog.testing import capture_logs

from convoq.errors import DatabaseUnavailable
from convoq.loopback.waiting import until
from convoq.queue.postgres.backend import PostgresQueue
from tests.queue.contract.steps import LONG, everything, job, numbers, put, take, take_one
from tests.queue.postgres.steps import PROMPTLY, OpenQueue, Session
from tests.servers.postgres import running_postgres

# Returns when they are gone.
END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
END_LISTENERS = f"{END_OTHERS} AND query LIKE '%queue_mark%'"


async def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced_unseen(
    queue: PostgresQueue, session: Session
) -> None:
    await put(queue, job(1, key="a"), job(2, key="b"))
    first, second = await take(queue)
    assert queue.extend([first], lease=60.0) == []
    session.execute(END_OTHERS)
    await put(queue, job(3, key="c"))
    await queue.ack(first)
    assert queue.extend([second], lease=60.0) == []
    assert numbers(await take_one(queue)) == [3]


async def test_a_queue_without_its_server_is_unavailable_and_comes_back_with_it(open_queue: OpenQueue) -> None:
    with running_postgres() as server:
        queue = await open_queue(server.create_database())
        await put(queue, job(1, key="a"))
        claim = await take_one(queue)
        server.stop(signal.SIGINT)
        with pytest.raises(DatabaseUnavailable):
            await put(queue, job(2))
        with pytest.raises(DatabaseUnavailable):
            await queue.ack(claim)
        with pytest.raises(DatabaseUnavailable):
            queue.extend([claim], lease=60.0)
        server.start()
        assert queue.extend([claim], lease=60.0) == []
        await queue.ack(claim)
        await put(queue, job(3))
        assert numbers(await take_one(queue)) == [3]


async def test_what_was_enqueued_outlives_the_kill_of_the_server(open_queue: OpenQueue) -> None:
    with running_postgres() as server:
        queue = await open_queue(server.create_database())
        ids = [job_id for number in range(20) for job_id in await put(queue, job(number))]
        server.stop(signal.SIGKILL)
        server.start()
        assert [each.id for each in reversed(await everything(queue))] == ids


# --- The mark


async def test_a_worker_whose_listening_connection_is_lost_has_its_mark_again_and_looks_for_work(
    queue: PostgresQueue, session: Session
) -> None:
    await queue.register("w")
    waiting = asyncio.create_task(queue.wait(LONG))
    await asyncio.sleep(0)
    with capture_logs() as logs:
        session.execute(END_LISTENERS)
        async with asyncio.timeout(PROMPTLY):
            await waiting
    assert [each["event"] for each in logs] == ["worker.unmarked", "worker.mark_restored"]
    assert session.execute("SELECT pg_try_advisory_lock(queue_mark('w'))").fetchone() == (False,)


async def test_a_worker_that_comes_back_in_time_keeps_its_claims(open_queue: OpenQueue, session: Session) -> None:
    worker, other = await open_queue(), await open_queue(death=LONG)
    await worker.register("w")
    await put(worker, job(1, key="a"))
    claim = await take_one(worker, worker="w")
    session.execute(END_LISTENERS)

    async def is_back() -> bool:
        assert await other.recover() == 0
        return worker._is_marked and not other._missing

    await until(is_back, timeout=PROMPTLY)
    await worker.ack(claim)


async def test_a_worker_that_stays_away_loses_its_claims(open_queue: OpenQueue) -> None:
    worker, other = await open_queue(), await open_queue(death=0.05)
    await worker.register("w")
    await put(worker, job(1, key="a"))
    await take_one(worker, worker="w")
    await worker.close()
    assert await other.recover() == 0
    await asyncio.sleep(0.06)  # longer than the time for which a mark must be missing
    assert await other.recover() == 1


async def test_claims_that_were_made_without_a_mark_are_left_to_their_lease(open_queue: OpenQueue) -> None:
    worker, other = await open_queue(), await open_queue()
    await put(worker, job(1, key="a"))
    await take_one(worker, worker="unmarked")
    await worker.close()
    assert await other.recover() == 0


async def test_a_worker_that_cannot_be_marked_does_not_begin(open_queue: OpenQueue) -> None:
    with running_postgres() as server:
        queue = await open_queue(server.create_database())
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            await queue.register("w")
