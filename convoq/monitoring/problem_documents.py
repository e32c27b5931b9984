"""The JSON documents of what went wrong by cause, and of acts on many jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from convoq.text import iso_time, masked

if TYPE_CHECKING:
    from convoq.conversations.bulk_acts import BulkAct
    from convoq.operating.problems import Problem


def problems_document(problems: Iterable[Problem]) -> dict[str, Any]:
    return {"problems": [_problem(one) for one in problems]}


def _problem(one: Problem) -> dict[str, Any]:
    return {
        "sort": str(one.sort), "cause": one.cause, "kind": one.kind, "code": one.code, "said": masked(one.said),
        "count": one.count, "capped": one.is_capped, "people": one.people, "since": iso_time(one.since),
        "newest": iso_time(one.newest), "returns_at": iso_time(one.returns_at), "retry_helps": one.retry_helps,
        "remedy": one.remedy, "jobs": list(one.jobs), "conversations": list(one.conversations),
    }  # fmt: skip


def bulk_document(bulk: BulkAct) -> dict[str, Any]:
    return {
        "id": bulk.id, "act": bulk.act, "filter": dict(bulk.filter), "who": bulk.who, "state": str(bulk.state),
        "total": bulk.total, "changed": bulk.changed, "left_alone": bulk.left_alone,
        "begun_at": iso_time(bulk.begun_at), "ended_at": iso_time(bulk.ended_at), "error": bulk.error,
    }  # fmt: skip
