"""Rules that are taken away, to see that their scenarios fail then."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.postgres.joined import PostgresJoined
from convoq.queue.sqlite.joined import SqliteJoined


def join_claimed_jobs(patch: pytest.MonkeyPatch) -> None:
    """A job that a claim holds counts as one that is still to look."""
    originals: dict[type[Any], Any] = {joined: joined.enqueue for joined in (SqliteJoined, PostgresJoined)}

    def join(self: Any, tx: Transaction, job: NewJob) -> bool:
        ready = "SELECT 1 FROM jobs WHERE lane = ? AND kind = ? AND state = 'ready'"
        found = tx.execute(ready, (job.ordering_key, job.kind)).fetchone()
        return found is None and bool(originals[type(self)](self, tx, job))

    for joined in originals:
        patch.setattr(joined, "enqueue", join)
