"""PostgreSQL's text holds no NUL, and whoever enqueues may have one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.jobs import NewJob
from convoq.queue.base import Enqueued, JobFilter
from convoq.queue.postgres.backend import PostgresQueue
from convoq.queue.postgres.text import read_key, stored_json, stored_key
from tests.queue.contract.steps import everything, job, numbers, put, take, take_one

KEYS = ["a\0b", "a\\0b", "a\\\0b", "a\\\\0b"]

texts = st.text(st.sampled_from("\0\\0ab"), max_size=8)


@given(texts)
def test_a_key_is_read_as_it_was_written(key: str) -> None:
    assert "\0" not in stored_key(key)
    assert read_key(stored_key(key)) == key


@given(texts)
def test_an_object_with_a_nul_in_a_string_is_the_same_object(text: str) -> None:
    payload = json.dumps({"body": text}).replace("\\u0000", "\0")
    stored = stored_json(payload)
    assert "\0" not in stored
    assert json.loads(stored) == {"body": text}


async def test_ordering_keys_that_differ_in_a_nul_are_different_lanes(queue: PostgresQueue) -> None:
    await put(queue, *(job(number, key=key) for number, key in enumerate(KEYS)))
    claims = {claim.lane: numbers(claim) for claim in await take(queue)}
    assert claims == {key: [number] for number, key in enumerate(KEYS)}
    assert await queue.busy([*KEYS, "b"]) == set(KEYS)
    found = await queue.list(JobFilter(ordering_key=KEYS[0]))
    assert [(each.ordering_key, each.running) for each in found] == [(KEYS[0], True)]


async def test_dedup_keys_that_differ_in_a_nul_are_different(queue: PostgresQueue) -> None:
    ids = await put(queue, *(job(number, dedup=key) for number, key in enumerate(KEYS)))
    assert len(set(ids)) == len(KEYS)
    again = await queue.enqueue([job(dedup=key) for key in KEYS], max_attempts=5)
    assert again == [Enqueued(job_id, duplicate=True) for job_id in ids]
    assert [each.dedup_key for each in reversed(await everything(queue))] == KEYS


async def test_an_error_with_a_nul_shows_where_it_stood(queue: PostgresQueue) -> None:
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    await queue.nack(claim, delay=0.0, charged=claim.jobs, error="a\0b", reason="c\0d")
    assert [(each.error, each.reason) for each in await everything(queue)] == [("a\ufffdb", "c\ufffdd")]


@pytest.mark.parametrize("kind", ["k\0", "k\\0"])
async def test_a_kind_comes_back_as_it_went_in(queue: PostgresQueue, kind: str) -> None:
    await put(queue, NewJob(kind=kind, payload="{}"))
    assert (await take_one(queue)).kind == kind
    assert list((await queue.stats()).kinds) == [kind]
    assert await queue.count(JobFilter(kinds=(kind,))) == 1
