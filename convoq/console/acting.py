"""Acts over the API: in the operator's name, once for each key, and on record with its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from convoq.console.endpoints import Answer, Asked, Site
from convoq.console.errands import JobErrand
from convoq.conversations.acts import Actor, Acts
from convoq.conversations.audit_trail import record_act
from convoq.conversations.idempotency import Repeated, Request
from convoq.conversations.operator_list import require_operator
from convoq.db.transaction import Transaction
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import NewJob

T = TypeVar("T")

WAY: Final = "api"

Enqueue = Callable[[Transaction, NewJob], object]
Render = Callable[[Any], Mapping[str, Any]]


async def act(
    site: Site, asked: Asked[Any, Any], work: Callable[[Acts], Awaitable[T]], render: Callable[[T], Mapping[str, Any]],
    *, conversation_id: int | None = None, contact_id: int | None = None,
) -> Answer:  # fmt: skip
    """Does it, or answers as before where it was done. Raises ActRefused, LookupError; then nothing was done."""
    request = request_of(asked, render, conversation_id=conversation_id, contact_id=contact_id)
    follow_ups = site.follow_ups()
    wake = partial(enqueue_turns, follow_ups)
    acts = Acts(site.database, site.wall, asked.token.operator, wake, way=WAY, errand=request)
    try:
        done = await work(acts)
    except Repeated as repeated:
        return Answer(repeated.answer)
    await follow_ups.send()
    return Answer(render(done))


async def act_and_enqueue(
    site: Site, asked: Asked[Any, Any], unit: Callable[[Transaction, Actor, int, Enqueue], T],
    render: Callable[[T], Mapping[str, Any]],
) -> Answer:  # fmt: skip
    """As act(), of an act from which jobs follow: they are enqueued in its transaction, or right after it."""
    follow_ups = site.follow_ups()
    acts = Acts(
        site.database, site.wall, asked.token.operator, partial(enqueue_turns, follow_ups), way=WAY,
        errand=request_of(asked, render),
    )  # fmt: skip
    try:
        done = await acts.do(lambda tx, actor, now: unit(tx, actor, now, follow_ups.enqueue))
    except Repeated as repeated:
        return Answer(repeated.answer)
    await follow_ups.send()
    return Answer(render(done))


def request_of(
    asked: Asked[Any, Any], render: Render, *, conversation_id: int | None = None, contact_id: int | None = None
) -> Request:
    return Request(
        token_id=asked.token.id, operator=asked.token.operator, key=asked.key, fingerprint=asked.fingerprint,
        answer=render, conversation_id=conversation_id, contact_id=contact_id,
    )  # fmt: skip


def job_errand(site: Site, asked: Asked[Any, Any], request: Request, act: str, job_id: str) -> JobErrand:
    """The operator may act: raises Repeated, ActRefused. And has."""
    name, now = asked.token.operator, site.database.clock.now()

    def begin(tx: Transaction) -> None:
        require_operator(tx, name)
        request.begin(tx, now)

    def end(tx: Transaction) -> None:
        record_act(tx, now, name, act, subject=f"job:{job_id}", way=WAY)
        request.end(tx, now, job_id)

    return JobErrand(begin, end)
