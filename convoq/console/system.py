"""The whole: its state, its processes, its schedule, and who did what."""

from __future__ import annotations

from typing import Any, Final

from pydantic import AwareDatetime, Field

from convoq.console.acting import act, request_of
from convoq.console.endpoints import Answer, Asked, Document, Endpoint, NoBody, NoQuery, Page, Site, not_found
from convoq.console.paging import LARGEST, ListPage, page, place, read_place
from convoq.conversations.access import AccessRole
from convoq.conversations.acts import Acts
from convoq.conversations.audit_trail import AuditTrail
from convoq.conversations.idempotency import find_answer
from convoq.monitoring.act_documents import audit_trail_document
from convoq.monitoring.documents import status_document
from convoq.monitoring.pauses import read_pauses
from convoq.monitoring.schedule_documents import schedules_document
from convoq.monitoring.snapshot import AlertLimits
from convoq.operating.overview import read_state
from convoq.operating.schedules import coming_runs, run_once
from convoq.scheduler.entries import entries_from


class KindState(Document):
    ready: int
    scheduled: int
    running: int
    dead: int
    oldest_wait_seconds: float


class QueueState(Document):
    kinds: dict[str, KindState]
    dead: int
    oldest_wait_seconds: float


class ConversationsState(Document):
    by_status: dict[str, int]
    by_owner: dict[str, int] = Field(description="Of those that are not closed")
    waiting: int = Field(description="Messages of people that have no answer yet")
    waiting_since: str | None


class ReplySeconds(Document):
    median: float
    p95: float
    count: int


class SendsState(Document):
    ready: int
    sending: int
    ambiguous: int
    failed_last_day: int
    undelivered_last_day: int
    undelivered_by_code: dict[str, int]
    reply_seconds: ReplySeconds | None


class ProcessState(Document):
    role: str
    host: str
    pid: int
    version: str
    started_at: str
    seen_at: str
    seen_seconds_ago: float
    status: str
    gone: bool = Field(description="It was killed or has crashed")


class HeldBack(Document):
    rule: str
    detail: str
    since: str | None
    until: str | None
    conversation_id: int | None


class SchedulePause(Document):
    paused_at: str
    reason: str | None


class PausedSchedule(SchedulePause):
    name: str


class BudgetReached(Document):
    scope: str
    whose: str
    period: str
    until: str


class LogReader(Document):
    pid: int
    command: str


class DatabaseState(Document):
    path: str
    bytes: int
    log_bytes: int | None
    log_readers: list[LogReader]
    accepts: bool = Field(description="Whether there is room for more")


class Status(Document):
    at: str
    ok: bool
    problems: list[str] = Field(description="What calls for a person")
    kept: str | None
    queue: QueueState
    conversations: ConversationsState
    sends: SendsState
    processes: list[ProcessState]
    held: list[HeldBack]
    paused_schedules: list[PausedSchedule]
    budgets_reached: list[BudgetReached]
    database: DatabaseState


class Processes(Document):
    processes: list[ProcessState]


class Schedule(Document):
    name: str
    kind: str
    every_seconds: float | None
    cron: str | None
    timezone: str
    missed: str
    overlap: bool
    paused: SchedulePause | None
    next: list[str] = Field(description="Its next run; none while it is paused")


class Schedules(Document):
    schedules: list[Schedule]


class AuditEntry(Document):
    id: int
    at: str
    who: str
    act: str
    conversation_id: int | None
    subject: str | None
    detail: str | None
    way: str | None = Field(description="api; none for a command")


class AuditPage(ListPage):
    acts: list[AuditEntry]


class AuditQuery(Page):
    who: str | None = Field(default=None, max_length=40, description="By this person alone")
    conversation: int | None = Field(default=None, ge=1, le=LARGEST, description="In this conversation alone")
    since: AwareDatetime | None = Field(default=None, description="From then on")


async def status(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    return Answer(await _state(site))


async def processes(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    return Answer({"processes": (await _state(site))["processes"]})


async def _state(site: Site) -> dict[str, Any]:
    return status_document(*await read_state(site.database, site.jobs, site.options, AlertLimits()))


async def list_schedules(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    pauses = {pause.name: pause for pause in await read_pauses(site.database)}
    entries = entries_from(site.options.schedules)
    runs = [(entry, coming_runs(entry, 1, site.database.clock, pauses)) for entry in entries]
    return Answer(schedules_document(runs, pauses))


class Run(Document):
    job_id: str
    joined: bool = Field(description="A run waited already: it is that one, and due now")


async def run_schedule(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    entries = {entry.name: entry for entry in entries_from(site.options.schedules)}
    entry = entries.get(asked.path["name"])
    if entry is None:
        raise not_found("schedule")
    joined = False

    async def run(acts: Acts) -> str:
        nonlocal joined
        enqueued = await run_once(entry, site.database, site.enqueuer, site.jobs, key=_run_key(asked))
        joined = enqueued.joined
        return await acts.note_run(entry.name, enqueued.job_id)

    def document(job_id: str) -> dict[str, Any]:
        return {"job_id": job_id, "joined": joined}

    before = await find_answer(site.database, request_of(asked, document))
    return Answer(before) if before is not None else await act(site, asked, run, document)


def _run_key(asked: Asked[NoQuery, NoBody]) -> str | None:
    """Enqueued is before it is on record: what is repeated between the two is the same job."""
    return None if asked.key is None else f"run:{request_of(asked, dict).hash}"


async def list_acts(site: Site, asked: Asked[AuditQuery, NoBody]) -> Answer:
    query = asked.query
    before = read_place(query.before, 1)
    found = await AuditTrail(site.database).list(
        limit=query.limit + 1,
        before=before[0] if before else None,
        since=None if query.since is None else round(query.since.timestamp() * 1000),
        who=query.who,
        conversation_id=query.conversation,
    )
    shown, more = found[: query.limit], len(found) > query.limit
    document = audit_trail_document(shown, more=more, full=True)
    return Answer(page(document, place(shown[-1].id) if more else None))


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/status", role=AccessRole.VIEWER, handle=status, answer=Status,
        summary="The queue, the conversations and the processes at a glance",
    ),
    Endpoint(
        method="GET", path="/processes", role=AccessRole.VIEWER, handle=processes, answer=Processes,
        summary="The processes that were seen of late",
    ),
    Endpoint(
        method="GET", path="/schedules", role=AccessRole.VIEWER, handle=list_schedules, answer=Schedules,
        summary="What runs when",
    ),
    Endpoint(
        method="POST", path="/schedules/{name}/run", role=AccessRole.OPERATOR, handle=run_schedule, answer=Run,
        status=202, summary="Enqueue one run now", parameters={"name": "The entry"},
    ),
    Endpoint(
        method="GET", path="/audit", role=AccessRole.ADMIN, handle=list_acts, answer=AuditPage, query=AuditQuery,
        summary="Who did what, newest first",
    ),
)  # fmt: skip
