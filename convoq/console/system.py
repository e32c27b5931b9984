"""The whole: its state, its processes, its schedule, and who did what."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from convoq.console.endpoints import Answer, Asked, Document, Endpoint, NoBody, NoQuery, Site
from convoq.conversations.access import AccessRole
from convoq.monitoring.documents import status_document
from convoq.monitoring.snapshot import AlertLimits
from convoq.operating.overview import read_state


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


async def status(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    return Answer(await _state(site))


async def processes(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    return Answer({"processes": (await _state(site))["processes"]})


async def _state(site: Site) -> dict[str, Any]:
    return status_document(*await read_state(site.database, site.jobs, site.options, AlertLimits()))


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/status", role=AccessRole.VIEWER, handle=status, answer=Status,
        summary="The queue, the conversations and the processes at a glance",
    ),
    Endpoint(
        method="GET", path="/processes", role=AccessRole.VIEWER, handle=processes, answer=Processes,
        summary="The processes that were seen of late",
    ),
)  # fmt: skip
