"""run_bulk_act: what an operator asked for is done to many jobs, some hundred at a time, until it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from convoq.conversations.bulk_acts import BulkAct, BulkActs, BulkState
from convoq.conversations.queries import Reading
from convoq.errors import Snooze
from convoq.handlers.base import ClaimContext, Handler
from convoq.jobs import RunBulkAct
from convoq.logs import log
from convoq.queue.base import JobAdmin, JobFilter, JobRecord, Standing
from convoq.queue.selecting import MEANT, JobAct, JobSelection, all_ids, batches, change

STOPPED_PAUSE: Final = 0.1  #: seconds


def run_bulk_act(acts: BulkActs, jobs: JobAdmin, reading: Reading) -> Handler:
    """Each job is changed once, also where the worker dies in the middle; none that came after it was asked for."""

    async def handler(context: ClaimContext) -> None:
        [job] = context.claim.jobs
        bulk = await acts.get(RunBulkAct.model_validate_json(job.payload).bulk)
        if bulk is None or bulk.is_over:
            return
        act, chosen = JobAct(bulk.act), selection_of(bulk.act, bulk.filter)
        state = bulk.state
        for batch in batches(await _left(jobs, bulk, chosen)):
            if state is BulkState.STOPPING:
                break
            if context.stopping:
                raise Snooze(STOPPED_PAUSE, "the worker stops: the rest is the next one's")
            useless = await _useless(jobs, reading, batch) if act is JobAct.RETRY else {}
            wanted = [job_id for job_id in batch if job_id not in useless]
            changed = await change(jobs, act, chosen, wanted) if wanted else 0
            state = await acts.advance(bulk.id, batch[-1], changed=changed, left_alone=len(batch) - changed)
            context.renew_deadline()
        end = BulkState.STOPPED if state is BulkState.STOPPING else BulkState.DONE
        await acts.end(bulk.id, end)
        log.info("bulk.ended", bulk=bulk.id, act=bulk.act, state=str(end))

    return handler


async def _left(jobs: JobAdmin, bulk: BulkAct, chosen: JobSelection) -> list[str]:
    """Those that it has not come to. Ids are numbers that grow."""
    return [one for one in await all_ids(jobs, chosen) if int(bulk.cursor or 0) < int(one) <= int(bulk.through)]


async def _useless(jobs: JobAdmin, reading: Reading, batch: Sequence[str]) -> dict[str, str]:
    found: list[JobRecord] = await jobs.list(JobFilter(ids=tuple(batch)), limit=len(batch))
    return await reading.useless_retries([(job.id, job.kind, job.payload) for job in found])


def selection_of(act: str, given: Mapping[str, Any]) -> JobSelection:
    """As the act's filter says: ids, states, kinds, since, cause."""
    standings = tuple(map(Standing, given.get("states", ()))) or MEANT[JobAct(act)]
    split = any(standing.state is Standing.READY.state for standing in standings)
    where = JobFilter(
        ids=tuple(given.get("ids", ())) or None,
        kinds=tuple(given.get("kinds", ())) or None,
        states=tuple(dict.fromkeys(standing.state for standing in standings)),
        standings=standings if split else None,
        since=given.get("since"),
    )
    return JobSelection(where=where, cause=given.get("cause"))
