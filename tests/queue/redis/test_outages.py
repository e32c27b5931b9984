"""A server that goes away, comes back or is full: nothing is spent, and what can go on does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import suppress

import pytest

from convoq.errors import DatabaseUnavailable
from convoq.jobs import raw_job
from convoq.loopback.waiting import until
from convoq.queue.base import JobFilter
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.enqueue import Replicas
from tests.queue.contract.steps import everything, job, numbers, put, take, take_one, takes_to_the_end, turn
from tests.queue.redis.conftest import OpenQueueOn
from tests.servers.redis import RedisServer, running_redis

SOON = 8.0  # less than a connection waits for an answer


async def succeeds(work: Awaitable[object]) -> bool:
    with suppress(DatabaseUnavailable):
        await work
        return True
    return False


async def fill(queue: RedisQueue) -> None:
    while True:
        await put(queue, *(raw_job("fill", {"text": "x" * 1000}) for _ in range(50)))


async def is_true(work: Awaitable[object]) -> bool:
    return bool(await work)


async def test_while_the_server_is_gone_every_verb_says_that_it_is_unavailable(
    own_redis: RedisServer, open_on: OpenQueueOn
) -> None:
    queue = await open_on(own_redis.server)
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    own_redis.stop()
    for verb in (
        queue.enqueue([job(2)], max_attempts=5), queue.claim(1, lease=60.0, worker="w"), queue.ack(claim),
        queue.nack(claim, delay=0.0), queue.bury(claim, claim.jobs, error="no"), queue.next_due(), queue.recover(),
        queue.stats(), queue.follow([job(3)]),
    ):  # fmt: skip
        with pytest.raises(DatabaseUnavailable, match="Redis at"):
            await verb
    with pytest.raises(DatabaseUnavailable, match="Redis at"):
        queue.extend([claim], lease=60.0)
    own_redis.start()


async def test_a_killed_server_that_comes_back_has_lost_nothing(own_redis: RedisServer, open_on: OpenQueueOn) -> None:
    queue = await open_on(own_redis.server)
    await put(queue, job(1, key="a"), job(2, key="b", delay=0.0), job(3, dedup="k"))
    claim = (await take(queue, 1))[0]
    before = await everything(queue)
    own_redis.stop(signal.SIGKILL)
    own_redis.start()
    assert await everything(queue) == before
    assert queue.extend([claim], lease=60.0) == []
    await queue.ack(claim)
    assert [each.duplicate for each in await queue.enqueue([job(3, dedup="k")], max_attempts=5)] == [True]


async def test_all_that_was_accepted_under_load_outlives_the_servers_kill(
    own_redis: RedisServer, open_on: OpenQueueOn
) -> None:
    queue = await open_on(own_redis.server)
    accepted: list[int] = []

    async def produce(first: int) -> None:
        for number in range(first, first + 100_000):
            try:
                await put(queue, job(number, dedup=str(number)))
            except DatabaseUnavailable:
                return
            accepted.append(number)

    producers = [asyncio.create_task(produce(index * 100_000)) for index in range(32)]
    await until(lambda: len(accepted) > 2000, timeout=SOON)
    own_redis.stop(signal.SIGKILL)
    await asyncio.gather(*producers)
    own_redis.start()
    stored = {number for claim in await take(queue, limit=100_000) for number in numbers(claim)}
    assert set(accepted) <= stored


async def test_an_enqueue_that_is_repeated_after_the_server_was_lost_is_one_job(
    own_redis: RedisServer, open_on: OpenQueueOn
) -> None:
    queue = await open_on(own_redis.server)
    own_redis.send(signal.SIGSTOP)
    first = asyncio.create_task(put(queue, job(1, dedup="k")))
    await asyncio.sleep(0.05)  # it is on its way
    own_redis.stop(signal.SIGKILL)
    with pytest.raises(DatabaseUnavailable):
        await first
    own_redis.start()
    await put(queue, job(1, dedup="k"))
    assert await takes_to_the_end(queue) == [1]


async def test_scripts_that_the_server_has_forgotten_are_sent_again(
    own_redis: RedisServer, open_on: OpenQueueOn
) -> None:
    queue, client = await open_on(own_redis.server), own_redis.server.connect()
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    await client.script_flush()
    await asyncio.gather(*(put(queue, job(number)) for number in range(2, 5)), queue.ack(claim))
    await client.script_flush()
    await client.aclose()
    assert queue.extend([claim], lease=60.0) == [claim]
    assert await takes_to_the_end(queue) == [2, 3, 4]


async def test_a_full_server_takes_no_new_jobs_and_those_that_it_has_go_on(open_on: OpenQueueOn) -> None:
    with running_redis(maxmemory="3mb") as server:
        queue = await open_on(server.server)
        await put(queue, job(1, key="a"), job(2, key="b"), job(3, key="c"))
        await queue.check()
        with pytest.raises(DatabaseUnavailable, match=r"is full \(maxmemory\): it takes no new jobs"):
            await fill(queue)
        with pytest.raises(DatabaseUnavailable, match=r"is full: [\d,]+ of 3,145,728 bytes"):
            await queue.check()
        claims = {numbers(claim)[0]: claim for claim in await take(queue, 3)}
        await queue.ack(claims[1])
        await queue.nack(claims[2], delay=0.0, charged=claims[2].jobs, error="no")
        await queue.bury(claims[3], claims[3].jobs, error="no")
        assert await queue.follow([turn(4)]) == [True]
        await queue.cancel(JobFilter(kinds=("fill",)), limit=10_000)
        await queue.discard(JobFilter(kinds=("fill",)), limit=10_000)
        await put(queue, job(5))


# --- Workers


async def test_a_worker_whose_subscription_is_lost_claims_nothing_until_it_has_a_new_one(
    own_redis: RedisServer, open_on: OpenQueueOn
) -> None:
    queue = await open_on(own_redis.server)
    await queue.register("w")
    await put(queue, job(1))
    assert queue._presence is not None
    queue._presence.is_heard = False
    with pytest.raises(DatabaseUnavailable, match="subscription is lost"):
        await take(queue, worker="w")
    own_redis.stop()
    own_redis.start()
    await until(lambda: succeeds(queue.claim(1, lease=60.0, worker="w")), timeout=SOON)
    assert (await everything(queue))[0].running


async def test_a_worker_is_woken_again_after_the_server_was_away(own_redis: RedisServer, open_on: OpenQueueOn) -> None:
    worker, producer = await open_on(own_redis.server), await open_on(own_redis.server)
    await worker.register("w")
    presence = worker._presence
    assert presence is not None
    own_redis.stop()
    await until(lambda: not presence.is_heard, timeout=SOON)
    own_redis.start()
    await until(lambda: presence.is_heard, timeout=SOON)
    presence.woken.clear()
    waiting = asyncio.create_task(worker.wait(60.0))
    await asyncio.sleep(0.05)  # it is in its wait
    await put(producer, job(1))
    await asyncio.wait_for(waiting, SOON)  # heard, it looks no sooner than after 60 s


async def test_workers_that_lost_the_server_together_do_not_take_each_other_for_dead(
    own_redis: RedisServer, open_on: OpenQueueOn
) -> None:
    workers = [await open_on(own_redis.server) for _ in range(3)]
    for number, worker in enumerate(workers):
        await worker.register(f"w{number}")
        await put(worker, job(number))
        await take_one(worker, worker=f"w{number}")
    own_redis.stop()
    own_redis.start()
    ends_at = asyncio.get_running_loop().time() + 1.0  # twice what they are given to come back
    while asyncio.get_running_loop().time() < ends_at:
        for worker in workers:
            with suppress(DatabaseUnavailable):
                assert await worker.recover() == 0
        await asyncio.sleep(0.02)  # between two looks: that none is taken over has no state to wait for
    assert [each.running for each in await everything(workers[0])] == [True] * 3


async def test_a_dead_worker_is_known_by_two_looks(own_redis: RedisServer, open_on: OpenQueueOn) -> None:
    worker, other = await open_on(own_redis.server), await open_on(own_redis.server)
    await worker.register("w")
    await put(worker, job(1))
    await take_one(worker, worker="w")
    await worker.close()
    assert await other.recover() == 0
    await until(lambda: is_true(other.recover()), timeout=SOON)
    assert numbers(await take_one(other)) == [1]


# --- Replicas


async def test_an_enqueue_waits_for_its_replicas(open_on: OpenQueueOn) -> None:
    with (
        running_redis(repl_diskless_sync_delay="0") as server,
        running_redis(replicaof=f"127.0.0.1 {server.port}") as replica,
    ):
        await replica.follows()
        patient = await open_on(server.server, replicas=Replicas(1, timeout=SOON, fsynced=False))
        hasty = await open_on(server.server, replicas=Replicas(1, timeout=0.1, fsynced=False))
        [first] = await put(patient, job(1, dedup="k"))
        replica.send(signal.SIGSTOP)
        for new in (job(2), job(1, dedup="k")):
            with pytest.raises(DatabaseUnavailable, match=r"0 of 1 replicas of Redis took the job within 0.1 s"):
                await put(hasty, new)
        replica.send(signal.SIGCONT)
        assert await put(patient, job(1, dedup="k")) == [first]
