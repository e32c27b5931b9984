"""Figures of a span of days."""

from __future__ import annotations

import datetime as dt
from typing import Final

from pydantic import Field

from convoq.console.endpoints import Answer, Asked, Document, Endpoint, NoBody, Query, Site
from convoq.console.problems import invalid
from convoq.conversations.access import AccessRole
from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable
from convoq.monitoring.figure_documents import figures_document
from convoq.operating.figures import MOST_DAYS, read_figures


class FigureQuery(Query):
    from_: dt.date | None = Field(default=None, alias="from", description="The first day; else the last 30")
    to: dt.date | None = Field(default=None, description="The last day; else today, in the zone of [budgets]")
    number: str | None = Field(default=None, min_length=1, max_length=100, description="Over this number of ours")
    persona: str | None = Field(default=None, min_length=1, max_length=100, description="Where this one answers")


class DayFigures(Document):
    date: str
    accepted: int = Field(description="Messages of people")
    answered_by_ai: int
    answered_by_people: int
    unanswered: int = Field(description="That wait, or that nobody could answer")
    replies: int = Field(description="Of the AI, that were sent")
    reply_p50_seconds: float | None = Field(description="From the last message to the first part that was sent")
    reply_p95_seconds: float | None
    handed_over: int
    opened: int = Field(description="Conversations that began")
    by_ai_alone: int = Field(description="Of those, without a person of ours so far")
    drafts: int
    superseded: int = Field(description="Of those, given up for a newer message")
    undelivered: int = Field(description="Parts that were not sent or did not arrive")


class TotalFigures(Document):
    accepted: int
    answered_by_ai: int
    answered_by_people: int
    unanswered: int
    replies: int
    handed_over: int
    opened: int
    by_ai_alone: int
    drafts: int
    superseded: int
    undelivered: int
    reply_p50_seconds: float | None
    reply_p95_seconds: float | None
    cost_millionths: int
    currency: str | None
    unpriced_requests: int = Field(description="Whose price is not known")


class HandoverFigures(Document):
    reason: str = Field(description="asked, complaint, mandate, unsure, safety, budget, provider_down, loop, ...")
    count: int
    taken: int = Field(description="By a person of ours")
    waiting: int = Field(description="Still")
    taken_p50_seconds: float | None
    taken_p95_seconds: float | None


class CostFigures(Document):
    day: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_millionths: int
    currency: str | None
    unpriced_requests: int


class MinuteFigures(Document):
    at: str
    accepted: int
    unanswered: int


class Figures(Document):
    from_: str = Field(alias="from")
    to: str
    totals: TotalFigures
    days: list[DayFigures]
    handovers: list[HandoverFigures] = Field(description="The most frequent reason first")
    undelivered_by_code: dict[str, int]
    costs: list[CostFigures] = Field(description="By day and model")
    last_hour: list[MinuteFigures] = Field(description="Whatever the span, over all numbers")


async def get_figures(site: Site, asked: Asked[FigureQuery, NoBody]) -> Answer:
    query = asked.query
    try:
        figures = await read_figures(
            site.database, site.options, site.wall, first=query.from_, last=query.to, number=query.number,
            persona=query.persona,
        )  # fmt: skip
    except (DatabaseUnavailable, DatabaseRefused):
        raise
    except ConvoqError as error:
        raise invalid("from" if query.number is None else "number", str(error)) from None
    return Answer(figures_document(figures))


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/figures", role=AccessRole.VIEWER, handle=get_figures, answer=Figures, query=FigureQuery,
        summary=f"What came, who answered how fast, and what it cost, by day: {MOST_DAYS} at most",
    ),
)  # fmt: skip
