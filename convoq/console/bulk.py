"""What went wrong, by cause; and one act on all jobs of one, or of a filter."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from convoq.console.acting import Enqueue, act_and_enqueue, request_of
from convoq.console.endpoints import Answer, Asked, Body, Document, Endpoint, NoBody, NoQuery, Query, Site, not_found
from convoq.console.problems import Problem
from convoq.conversations import bulk_acts
from convoq.conversations.access import AccessRole
from convoq.conversations.acts import Actor
from convoq.conversations.bulk_acts import BulkAct, BulkActs
from convoq.conversations.idempotency import find_answer
from convoq.db.transaction import Transaction
from convoq.handlers.bulk import selection_of
from convoq.jobs import bulk_job
from convoq.monitoring.problem_documents import bulk_document, problems_document
from convoq.operating.problems import read_problems
from convoq.queue.selecting import count, newest

MOST_GROWN: Final = 1.1  #: of what was seen: more is not what was meant


class ProblemQuery(Query):
    since: AwareDatetime | None = Field(default=None, description="Messages from then on, else of the last day")


class ProblemByCause(Document):
    sort: str = Field(description="dead (letters), held (jobs), unsent, undelivered (messages)")
    cause: str = Field(description="Of jobs: for GET /jobs and POST /bulk")
    kind: str | None = Field(description="Of the jobs")
    code: str | None = Field(description="Of the messages: the channel's, or a word")
    said: str = Field(description="Of one of them")
    count: int
    capped: bool = Field(description="There are more")
    people: int = Field(description="Whom it concerns")
    since: str
    newest: str
    returns_at: str | None = Field(description="When the first of them is tried again by itself")
    retry_helps: int = Field(description="For so many of the jobs a retry would do something")
    remedy: str
    jobs: list[str] = Field(description="The newest, a few")
    conversations: list[int] = Field(description="The newest, a few")


class Problems(Document):
    problems: list[ProblemByCause]


class BulkFilter(Body):
    """Which jobs: every given condition holds."""

    ids: list[str] = Field(default=[], max_length=500)
    states: list[Literal["ready", "scheduled", "running", "done", "dead", "cancelled"]] = Field(
        default=[], max_length=6, description="Else dead ones; of cancel those that wait"
    )
    kinds: list[str] = Field(default=[], max_length=20)
    cause: str | None = Field(default=None, max_length=40, description="As GET /problems has it")
    since: AwareDatetime | None = Field(default=None, description="Enqueued then or later")


class BulkBody(Body):
    act: Literal["retry", "run-now", "cancel", "discard"]
    filter: BulkFilter
    expect: int = Field(ge=1, le=10**9, description="How many you have seen: refused if there are many more now")


class Bulk(Document):
    id: int
    act: str
    filter: dict[str, Any]
    who: str
    state: str = Field(description="running, stopping, done, stopped")
    total: int = Field(description="That were meant when it was asked for")
    changed: int = Field(description="So far")
    left_alone: int = Field(description="So far: running, changed meanwhile, or a change would do nothing")
    begun_at: str
    ended_at: str | None
    error: str | None


async def list_problems(site: Site, asked: Asked[ProblemQuery, NoBody]) -> Answer:
    since = None if asked.query.since is None else round(asked.query.since.timestamp() * 1000)
    return Answer(problems_document(await read_problems(site.database, site.jobs, since=since)))


async def begin(site: Site, asked: Asked[NoQuery, BulkBody]) -> Answer:
    body = asked.body
    chosen = _chosen(body.filter)
    selection = selection_of(body.act, chosen)
    before = await find_answer(site.database, request_of(asked, bulk_document))
    if before is not None:  # it has begun, and what is so by now is what it has left
        return Answer(before)
    last, total = await newest(site.jobs, selection, limit=1), await count(site.jobs, selection)
    if total > body.expect * MOST_GROWN:
        raise Problem("grown", f"{total} jobs are so by now, not {body.expect}: look again", count=total)

    def add(tx: Transaction, actor: Actor, now: int, enqueue: Enqueue) -> BulkAct:
        if not total or not last:
            raise Problem("unchanged", "no job is so any more")
        bulk = bulk_acts.add(tx, body.act, chosen, total, last[0].id, actor.name, now, way=actor.way)
        enqueue(tx, bulk_job(bulk.id))
        return bulk

    return await act_and_enqueue(site, asked, add, bulk_document)


def _chosen(given: BulkFilter) -> dict[str, Any]:
    """As it is kept with the act."""
    found = given.model_dump(exclude={"since"}, exclude_defaults=True)
    return found if given.since is None else {**found, "since": round(given.since.timestamp() * 1000)}


async def get(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    bulk = await BulkActs(site.database).get(asked.id_of("bulk act"))
    if bulk is None:
        raise not_found("bulk act")
    return Answer(bulk_document(bulk))


async def stop(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    bulk_id = asked.id_of("bulk act")

    def unit(tx: Transaction, actor: Actor, now: int, _: Enqueue) -> BulkAct:
        return bulk_acts.stop(tx, bulk_id, actor.name, now, way=actor.way)

    return await act_and_enqueue(site, asked, unit, bulk_document)


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/problems", role=AccessRole.VIEWER, handle=list_problems, answer=Problems,
        query=ProblemQuery, summary="What went wrong, by cause, with its remedy",
    ),
    Endpoint(
        method="POST", path="/bulk", role=AccessRole.OPERATOR, handle=begin, answer=Bulk, body=BulkBody, status=202,
        summary="Retry, run, cancel or discard all jobs of a cause or a filter", problems=("grown", "unchanged"),
    ),
    Endpoint(
        method="GET", path="/bulk/{id}", role=AccessRole.VIEWER, handle=get, answer=Bulk,
        summary="How far it has come",
    ),
    Endpoint(
        method="DELETE", path="/bulk/{id}", role=AccessRole.OPERATOR, handle=stop, answer=Bulk,
        summary="Stop it, after the batch that is under way", problems=("unchanged",),
    ),
)  # fmt: skip
