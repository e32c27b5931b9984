"""Whether the queue's rows in a database of the store's fit together, and which lanes anything will still happen in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from convoq.db.transaction import Transaction


class Inconsistency(NamedTuple):
    """Rows that contradict what the queue relies on."""

    number: int
    noun: str
    words: str


def inconsistencies(tx: Transaction) -> Iterator[Inconsistency]:
    for query, noun, words in INVARIANTS:
        (number,) = tx.execute(query).fetchone()
        if number:
            yield Inconsistency(number, noun, words)


def reachable_lanes(tx: Transaction) -> set[str]:
    """Lanes with a job that will be run, or that an operator can find among the dead letters and retry."""
    return {lane for (lane,) in tx.execute(REACHABLE)}


INVARIANTS = (
    (
        """SELECT count(*) FROM jobs AS j WHERE state = 'ready'
           AND NOT EXISTS (SELECT 1 FROM lanes AS l WHERE l.id = j.lane_id AND j.lane IN (l.lane, l.aside_of))""",
        *("ready job", "without a lane: no worker will ever see it; cancel and retry it (convoq jobs cancel, retry)"),
    ),
    (
        "SELECT count(*) FROM jobs WHERE state <> 'ready' AND finished_at IS NULL",
        *("finished job", "without the time of its end: it will never be pruned; discard it (convoq jobs discard)"),
    ),
    (
        "SELECT count(*) FROM lanes WHERE (receipt IS NULL) <> (worker IS NULL)",
        *("lane", "half claimed: it has a receipt or a worker, but not both"),
    ),
)
REACHABLE = """
    SELECT j.lane FROM lanes AS l JOIN jobs AS j ON j.lane_id = l.id WHERE j.state = 'ready'
    UNION SELECT lane FROM jobs WHERE state = 'dead'
"""
