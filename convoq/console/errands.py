"""What stands around a change of one job: it is committed with the change, or neither is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import EndedJob, Ending, Settle


class JobErrands:
    """What stands around a change of one job, in the transaction of the queue that makes it."""

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

    @asynccontextmanager
    async def doing(self, job_id: str, errand: Callable[[Transaction], None]) -> AsyncIterator[None]:
        """One at a time: the queue's own verb does not say whose change it is."""
        async with self._busy:
            self._job_id, self._errand = job_id, errand
            try:
                yield
            finally:
                self._job_id = self._errand = None
