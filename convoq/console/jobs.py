"""Jobs in the queue, and what became of them."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from convoq.console.endpoints import Answer, Asked, Document, Endpoint, NoBody, NoQuery, Page, Site, not_found
from convoq.console.paging import ListPage, page, place, read_place
from convoq.console.problems import Problem
from convoq.conversations.access import AccessRole
from convoq.monitoring.documents import job_document, jobs_document
from convoq.operating.jobs import job_filter
from convoq.queue.base import JobRecord, Standing


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
    found = await site.jobs.list(where, limit=query.limit + 1, before=str(before[0]) if before else None)
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


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/jobs", role=AccessRole.VIEWER, handle=list_jobs, answer=Jobs, query=JobQuery,
        summary="Jobs, newest first", problems=("role",),
    ),
    Endpoint(
        method="GET", path="/jobs/{id}", role=AccessRole.VIEWER, handle=get_job, answer=JobInFull,
        summary="One, with its payload and whole error",
    ),
)  # fmt: skip
