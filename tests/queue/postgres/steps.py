"""The steps that the tests of the queue on PostgreSQL are told in."""

from __future__ import annotations

from typing import Any, Protocol

import psycopg

from convoq.loopback.waiting import until
from convoq.queue.postgres.backend import PostgresQueue
from convoq.queue.postgres.calls import EnqueueCall

Session = psycopg.Connection[tuple[Any, ...]]
PROMPTLY = 5.0  #: seconds; far below what holds anything up here


class OpenQueue(Protocol):
    async def __call__(self, url: str = ..., *, death: float = 0.0, by_hand: bool = True) -> PostgresQueue:
        """One more queue, as another process would open it: on the test's database, with a clock turned by hand."""
        ...


def enqueue_by_hand(
    session: Session, now: int, *keys: str, **also: object
) -> tuple[list[int], list[bool] | None, list[bool] | None]:
    """A job a key, in the session's open transaction, if it has one: their ids, the duplicates, and what has joined."""
    given: dict[str, object] = {"kind": "reply", "payload": '{"n": 1}', "priority": 2, "delay": 0, "attempts": 5}
    given |= {"digest": None, "dedup_key": None, "waiting_key": None, "start_within": None, **also}
    values = (now, list(keys), *([value] * len(keys) for value in given.values()))
    [found] = session.execute(EnqueueCall.sql, values).fetchall()
    return found[0], found[1], found[2]


async def until_something_waits(session: Session) -> None:
    """For a lock of another transaction's."""

    def is_waiting() -> bool:
        return session.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None

    await until(is_waiting, timeout=PROMPTLY)
