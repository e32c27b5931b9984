"""A worker's slots among the classes of jobs: over any backlog none starves, and people keep a slot."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from convoq.db import Database
from convoq.jobs import INTAKE, INTAKE_KIND, NORMAL, PEOPLE, PRIORITIES, UPKEEP, NewJob
from convoq.queue.shares import SlotShares
from convoq.queue.sqlite.backend import SqliteQueue


@pytest.mark.parametrize("concurrency", [2, 3, 8, 32])
def test_background_jobs_never_fill_all_slots(concurrency: int) -> None:
    shares = SlotShares(concurrency)
    running: list[int] = []
    while room := shares.room(running).background:
        running += [NORMAL] * room
    assert 0 < len(running) < concurrency


def test_a_single_slot_takes_any_class() -> None:
    assert SlotShares(1).room([]).background == 1


def test_people_count_against_no_room_of_the_background() -> None:
    shares = SlotShares(8)
    assert shares.room([PEOPLE] * 7).background == shares.room([]).background


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_over_ten_thousand_random_claims_no_class_starves(database: Database, limit: int) -> None:
    chance, engine, shares = random.Random(limit), SqliteQueue(database), SlotShares(8)
    kinds = {priority: INTAKE_KIND if priority == INTAKE else "k" for priority in PRIORITIES}
    waiting = [NewJob(kind=kinds[each], payload="{}", priority=each) for each in PRIORITIES for _ in range(20)]
    await engine.enqueue(waiting, max_attempts=5)
    taken: Counter[int] = Counter()
    longest: Counter[int] = Counter()
    missed: Counter[int] = Counter()
    for _ in range(10_000 // (3 * limit)):
        running = chance.choices([INTAKE, NORMAL, UPKEEP], k=chance.randrange(4))
        room, reserve = shares.room(running), 1 + chance.randrange(8)
        claims = await engine.claim(
            limit, lease=60.0, worker="w", reserve=reserve, background=room.background, first=shares.first()
        )
        found = Counter(claim.priority for claim in claims)
        assert (found[INTAKE], len(claims)) == (reserve, reserve + limit)
        for priority in PRIORITIES:
            missed[priority] = 0 if found[priority] else missed[priority] + 1
            longest[priority] = max(longest[priority], missed[priority])
        taken += found
        for claim in claims:
            await engine.nack(claim, delay=0)  # as many wait as before
    await engine.close()
    assert set(taken) == set(PRIORITIES)
    assert max(longest.values()) <= 8
    assert longest[INTAKE] == 0
    assert taken[PEOPLE] > taken[NORMAL] + taken[UPKEEP] or limit > 1
