"""The JSON document of the figures of a span of days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convoq.text import iso_time

if TYPE_CHECKING:
    from convoq.operating.figures import Figures


def figures_document(figures: Figures) -> dict[str, Any]:
    """Money is in millionths of the currency."""
    days = figures.days
    return {
        "from": figures.first.isoformat(),
        "to": figures.last.isoformat(),
        "totals": {
            **{
                name: sum(getattr(day, name) for day in days)
                for name in ("accepted", "answered_by_ai", "answered_by_people", "unanswered", "replies", "handed_over",
                             "opened", "by_ai_alone", "drafts", "superseded", "undelivered")
            },
            "reply_p50_seconds": figures.reply_p50, "reply_p95_seconds": figures.reply_p95,
            "cost_millionths": sum(one.cost for one in figures.costs),
            "currency": next((one.currency for one in figures.costs if one.currency), None),
            "unpriced_requests": sum(one.unpriced for one in figures.costs),
        },
        "days": [
            {
                "date": day.date.isoformat(), "accepted": day.accepted, "answered_by_ai": day.answered_by_ai,
                "answered_by_people": day.answered_by_people, "unanswered": day.unanswered, "replies": day.replies,
                "reply_p50_seconds": day.reply_p50, "reply_p95_seconds": day.reply_p95,
                "handed_over": day.handed_over, "opened": day.opened, "by_ai_alone": day.by_ai_alone,
                "drafts": day.drafts, "superseded": day.superseded, "undelivered": day.undelivered,
            }
            for day in days
        ],
        "handovers": [
            {
                "reason": one.reason, "count": one.count, "taken": one.taken, "waiting": one.waiting,
                "taken_p50_seconds": one.taken_p50, "taken_p95_seconds": one.taken_p95,
            }
            for one in figures.handovers
        ],
        "undelivered_by_code": dict(figures.undelivered_by_code),
        "costs": [
            {
                "day": one.day, "model": one.model, "requests": one.requests, "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens, "cost_millionths": one.cost, "currency": one.currency,
                "unpriced_requests": one.unpriced,
            }
            for one in figures.costs
        ],
        "last_hour": [
            {"at": iso_time(one.at), "accepted": one.accepted, "unanswered": one.unanswered}
            for one in figures.last_hour
        ],
    }  # fmt: skip
