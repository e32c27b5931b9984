"""Reads one phone's conversation out of the database, with the time of every step."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from convoq.queue.sqlite.listing import RUNNING

LIMIT: Final = 60  # messages of a phone that are shown


@dataclass(slots=True, kw_only=True)
class InboundStep:
    """A message that the person wrote. Times are ms on the queue's clock; None: not yet."""

    sid: str
    text: str
    received_at: int
    claimed_at: int | None
    attempt: int
    running: bool
    due_at: int | None  #: when its lane is due, while it waits
    job_state: str
    error: str | None  #: of its latest failed attempt
    outcome: str | None = None
    answered_by: int | None = None
    drafted_at: int | None = None
    latest_at: int = 0  #: when the latest message of its thread came


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundPart:
    """One part of a message of ours."""

    message_id: int
    reference: str
    text: str
    at: int
    state: str  #: ready, sending, sent, failed, ambiguous
    attempts: int
    settled_at: int | None
    provider_id: str | None
    reconciled: bool
    error: str | None
    delivery: str | None
    delivery_at: int | None


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation, oldest first."""

    inbound: list[InboundStep] = field(default_factory=list)
    outbound: list[OutboundPart] = field(default_factory=list)


def read_thread(connection: sqlite3.Connection, lane: str, now: int) -> Thread:
    inbound = {one.sid: one for one in _jobs(connection, lane, now)}
    for row in _rows(connection, RECORDED, lane=lane, limit=LIMIT):
        known = inbound.get(row["source"].rpartition(":")[2])
        if known is not None:
            known.outcome, known.answered_by, known.drafted_at = row["outcome"], row["answered_by"], row["drafted_at"]
    latest_at = max((one.received_at for one in inbound.values()), default=0)
    for one in inbound.values():
        one.latest_at = latest_at
    outbound = [_outbound_part(row) for row in _rows(connection, OUTBOUND, lane=lane, limit=LIMIT)]
    return Thread(sorted(inbound.values(), key=lambda one: one.received_at), outbound[::-1])


def _jobs(connection: sqlite3.Connection, lane: str, now: int) -> list[InboundStep]:
    rows = _rows(connection, JOBS, lane=lane, now=now, limit=LIMIT)
    return [_inbound_step(row, dict(json.loads(row["payload"])["form"])) for row in reversed(rows)]


def _inbound_step(row: Mapping[str, Any], form: Mapping[str, str]) -> InboundStep:
    return InboundStep(
        sid=form["MessageSid"], text=form.get("Body", ""), received_at=row["enqueued_at"],
        claimed_at=row["claimed_at"], attempt=row["attempt"], running=bool(row["running"]), due_at=row["due_at"],
        job_state=row["state"], error=row["error"],
    )  # fmt: skip


def _outbound_part(row: Mapping[str, Any]) -> OutboundPart:
    return OutboundPart(
        message_id=row["message_id"], reference=row["reference"], text=row["body"], at=row["at"], state=row["state"],
        attempts=row["attempts"], settled_at=row["settled_at"], provider_id=row["provider_id"],
        reconciled=bool(row["reconciled"]), error=row["error"], delivery=row["delivery"],
        delivery_at=row["delivery_at"],
    )  # fmt: skip


def _rows(connection: sqlite3.Connection, query: str, **values: object) -> list[dict[str, Any]]:
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


JOBS = f"""
    SELECT j.payload, j.state, j.attempt, j.enqueued_at, j.claimed_at, j.error, l.due_at,
           {RUNNING} AS running
    FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id AND j.state = 'ready'
    WHERE j.lane = :lane AND j.kind = 'process_ai_response' ORDER BY j.id DESC LIMIT :limit
"""  # noqa: S608  # made of constants; values are bound
RECORDED = """
    SELECT m.source, m.outcome, m.answered_by,
           (SELECT d.created_at FROM drafts AS d WHERE d.conversation_id = m.conversation_id
            AND d.through_id >= m.id AND d.state <> 'superseded' ORDER BY d.through_id LIMIT 1) AS drafted_at
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
    WHERE c.lane = :lane AND m.direction = 'in' ORDER BY m.id DESC LIMIT :limit
"""
OUTBOUND = """
    SELECT o.message_id, o.reference, o.body, m.at, o.state, o.attempts, o.settled_at, o.provider_id, o.reconciled,
           o.error, o.delivery, o.delivery_at
    FROM outbox AS o JOIN messages AS m ON m.id = o.message_id JOIN conversations AS c ON c.id = o.conversation_id
    WHERE c.lane = :lane ORDER BY o.id DESC LIMIT :limit
"""
