"""What stands around a change of one job: it is on record with the change, or neither is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import EndedJob, Ending, Settle


class JobErrand(NamedTuple):
    """Of one change. Whatever `begin` raises, nothing is done."""

    begin: Callable[[Transaction], None]
    end: Callable[[Transaction], None]


class JobErrands:
    """Around a change of one job, in the transaction of the queue that makes it, where it shares the store's database.

    Elsewhere the queue settles in the store before it changes the job: begun is then, and ended only once it has.
    """

    def __init__(self) -> None:
        self._busy = asyncio.Lock()
        self._job_id: str | None = None
        self._errand: Callable[[Transaction], None] | None = None

    def around(self, settle: Settle) -> Settle:
        """The queue's settling, with the errand of the job before it."""

        def settled(tx: Transaction, ending: Ending, jobs: Sequence[EndedJob]) -> Sequence[NewJob]:
            if self._errand is not None and self._job_id in {job.id for job in jobs}:
                self._errand(tx)
            return settle(tx, ending, jobs)

        return settled

    async def change(
        self, job_id: str, errand: JobErrand, work: Callable[[], Awaitable[int]], store: Store, *, is_shared: bool
    ) -> int:
        """What the queue's verb says that it did. One at a time: it does not say whose change it is."""

        def whole(tx: Transaction) -> None:
            errand.begin(tx)
            errand.end(tx)

        async with self._busy:
            self._job_id, self._errand = job_id, whole if is_shared else errand.begin
            try:
                changed = await work()
            finally:
                self._job_id = self._errand = None
        if changed and not is_shared:
            await store.write(errand.end)
        return changed
