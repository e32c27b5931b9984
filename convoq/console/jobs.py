"""Jobs in the queue, and what became of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from convoq.console.acting import job_errand, request_of
from convoq.console.endpoints import Answer, Asked, Document, Endpoint, Handle, NoBody, NoQuery, Page, Site, not_found
from convoq.console.paging import ListPage, page, place, read_place
from convoq.console.problems import Problem
from convoq.conversations.access import AccessRole
from convoq.conversations.idempotency import Repeated, find_answer
from convoq.conversations.queries import Reading
from convoq.monitoring.documents import job_document, jobs_document
from convoq.operating.jobs import job_filter
from convoq.queue.base import JobAdmin, JobFilter, JobRecord, Standing
from convoq.queue.selecting import APPLIES_TO, JobAct, JobSelection, newest


class JobQuery(Page):
    state: tuple[Literal["ready", "scheduled", "running", "done", "dead", "cancelled"], ...] = Field(
        default=(), description="In one of these"
    )
    kind: tuple[str, ...] = Field(default=(), max_length=20, description="Of one of these")
    lane: str | None = Field(default=None, max_length=200, description="With this ordering key; not for viewers")
    text: str | None = Field(
        default=None, min_length=1, max_length=200, description="With this in payload or error; not for viewers"
    )
    since: AwareDatetime | None = Field(default=None, description="Enqueued then or later")
    cause: str | None = Field(default=None, min_length=1, max_length=40, description="Of this one, as /problems has it")


class Job(Document):
    id: str
    kind: str
    state: str
    standing: str = Field(description="The state, in an operator's words: ready, scheduled, running, done, ...")
    running: bool
    attempt: int
    max_attempts: int
    priority: str
    lane: str | None
    enqueued_at: str
    due_at: str | None
    claimed_at: str | None
    finished_at: str | None
    reason: str | None
    worker: str | None
    dedup_key: str | None
    error: str | None


class Jobs(ListPage):
    jobs: list[Job]


class JobInFull(Job):
    payload: Any = Field(description="Null for viewers: it holds numbers in many spellings")


async def list_jobs(site: Site, asked: Asked[JobQuery, NoBody]) -> Answer:
    query = asked.query
    if asked.token.role is AccessRole.VIEWER and (query.lane is not None or query.text is not None):
        raise Problem("role", "a viewer does not search lanes and payloads: they hold numbers")
    where = job_filter(
        standings=tuple(map(Standing, query.state)),
        kinds=query.kind,
        lane=query.lane,
        text=query.text,
        since=None if query.since is None else round(query.since.timestamp() * 1000),
    )
    before = read_place(query.before, 1)
    chosen = JobSelection(where=where, cause=query.cause)
    found = await newest(site.jobs, chosen, limit=query.limit + 1, before=str(before[0]) if before else None)
    shown, more = found[: query.limit], len(found) > query.limit
    return Answer(page(jobs_document(shown, more=more, full=True), place(int(shown[-1].id)) if more else None))


async def get_job(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    document = job_document(await find_job(site, asked), full=True, payload=True)
    return Answer(document if asked.token.role is not AccessRole.VIEWER else {**document, "payload": None})


async def find_job(site: Site, asked: Asked[Any, Any]) -> JobRecord:
    """Raises Problem."""
    record = await site.jobs.get(str(asked.id_of("job")))
    if record is None:
        raise not_found("job")
    return record


class JobChanged(Document):
    id: str
    act: str = Field(description="What was done: retry, cancel or discard")


def _changing(verb: str, change: Callable[[JobAdmin, JobFilter], Awaitable[int]]) -> Handle:
    async def handle(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
        job_id = str(asked.id_of("job"))
        request = request_of(asked, lambda _: {"id": job_id, "act": verb})
        if (before := await find_answer(site.database, request)) is not None:
            return Answer(before)
        record = await find_job(site, asked)
        if record.standing not in STANDINGS[verb]:
            raise _other_state(verb, record)
        if verb == "retry":
            await _require_use(site, record)
        states = tuple(dict.fromkeys(one.state for one in STANDINGS[verb]))

        def work() -> Awaitable[int]:
            return change(site.jobs, JobFilter(ids=(job_id,), states=states))

        errand = job_errand(site, asked, request, f"{verb}_job", job_id)
        try:
            changed = await site.change_job(job_id, errand, work)
        except Repeated as repeated:
            return Answer(repeated.answer)
        if not changed:
            raise _other_state(verb, await find_job(site, asked))
        return Answer({"id": job_id, "act": verb})

    return handle


async def _require_use(site: Site, record: JobRecord) -> None:
    """Raises Problem where a retry would answer and send nothing."""
    useless = await Reading(site.database).useless_retries([(record.id, record.kind, record.payload)])
    if record.id in useless:
        raise Problem(
            "state", f"a retry of job {record.id} would do nothing: {useless[record.id]}", state=str(record.standing)
        )


def _other_state(verb: str, record: JobRecord) -> Problem:
    wanted = ", ".join(STANDINGS[verb])
    return Problem("state", f"job {record.id} is {record.standing}: {verb} is for {wanted}", state=str(record.standing))


STANDINGS: Final[Mapping[str, tuple[Standing, ...]]] = {str(act): APPLIES_TO[act] for act in JobAct}

ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/jobs", role=AccessRole.VIEWER, handle=list_jobs, answer=Jobs, query=JobQuery,
        summary="Jobs, newest first", problems=("role",),
    ),
    Endpoint(
        method="GET", path="/jobs/{id}", role=AccessRole.VIEWER, handle=get_job, answer=JobInFull,
        summary="One, with its payload and whole error",
    ),
    Endpoint(
        method="POST", path="/jobs/{id}/retry", role=AccessRole.OPERATOR, answer=JobChanged, problems=("state",),
        handle=_changing("retry", lambda jobs, where: jobs.retry_dead(where)), summary="Make a dead one ready again",
    ),
    Endpoint(
        method="POST", path="/jobs/{id}/cancel", role=AccessRole.OPERATOR, answer=JobChanged, problems=("state",),
        handle=_changing("cancel", lambda jobs, where: jobs.cancel(where)), summary="Take a waiting one out",
    ),
    Endpoint(
        method="POST", path="/jobs/{id}/discard", role=AccessRole.OPERATOR, answer=JobChanged, problems=("state",),
        handle=_changing("discard", lambda jobs, where: jobs.discard(where)), summary="Delete one that is over",
    ),
)  # fmt: skip
