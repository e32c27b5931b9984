"""Every message with what became of it step by step, as the phone page and the audit of the trials read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convoq.conversations import rows
from convoq.db.store import Store
from convoq.db.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """A message of a person, as the store has it. Times are ms on the queue's clock."""

    source: str  #: its channel and the provider's id of it
    outcome: str | None
    reason: str | None
    answered_by: int | None
    tries: int
    failures: int
    drafted_at: int | None


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
    error_code: str | None
    delivery: str | None
    delivery_at: int | None
    written_by: str | None  #: the operator's name; None: it is the AI's or the system's


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """A message of a person and the parts of its answer, counted."""

    source: str
    job_id: str | None
    outcome: str | None  #: None while it waits
    references: tuple[str, ...]
    unsettled: int  #: parts that are still on their way
    sent: int  #: parts that are said to be at the channel
    reconciled: int  #: those of them that were found there by asking


class Timeline:
    """Reads only; each method is one snapshot."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def thread(self, lane: str, *, limit: int) -> tuple[list[RecordedMessage], list[OutboundPart]]:
        """The newest `limit` messages of one person and parts of ours to that person, oldest first."""
        return await self._database.read(read_thread, lane, limit)

    async def answers(self) -> tuple[list[AnswerRecord], frozenset[str]]:
        """Every message with its answer, oldest first; and the references of what we said without being asked."""
        return await self._database.read(read_answers)


def read_thread(tx: Transaction, lane: str, limit: int) -> tuple[list[RecordedMessage], list[OutboundPart]]:
    recorded = [
        RecordedMessage(**dict(zip(RecordedMessage.__slots__, row, strict=True)))
        for row in tx.execute(RECORDED, (lane, limit))
    ]
    parts = [_to_part(row) for row in tx.execute(PARTS, (lane, limit))]
    return recorded[::-1], parts[::-1]


def _to_part(row: Sequence[Any]) -> OutboundPart:
    fields = dict(zip(OutboundPart.__slots__, row, strict=True))
    return OutboundPart(**{**fields, "reconciled": bool(fields["reconciled"])})


def read_answers(tx: Transaction) -> tuple[list[AnswerRecord], frozenset[str]]:
    parts: defaultdict[int, list[str]] = defaultdict(list)
    for message_id, reference in tx.execute(REFERENCES):
        parts[message_id].append(reference)
    answers = [
        AnswerRecord(
            source=source, job_id=job_id, outcome=outcome, references=tuple(parts.get(answered_by, ())),
            unsettled=unsettled, sent=sent, reconciled=reconciled,
        )
        for source, job_id, outcome, answered_by, unsettled, sent, reconciled in tx.execute(ANSWERS)
    ]  # fmt: skip
    return answers, frozenset(reference for (reference,) in tx.execute(UNPROMPTED))


RECORDED = """
    SELECT m.source, m.outcome, m.reason, m.answered_by, m.tries, m.failures,
           (SELECT d.created_at FROM drafts AS d WHERE d.conversation_id = m.conversation_id
            AND d.through_id >= m.id AND d.state = 'committed' ORDER BY d.through_id LIMIT 1)
    FROM messages AS m JOIN threads AS t ON t.id = m.thread_id
    WHERE t.lane = ? AND m.direction = 'in' ORDER BY m.id DESC LIMIT ?
"""
PARTS = """
    SELECT o.message_id, o.reference, o.body, m.at, o.state, o.attempts, o.settled_at, o.provider_id, o.reconciled,
           o.error, o.error_code, o.delivery, o.delivery_at, m.written_by
    FROM outbox AS o JOIN messages AS m ON m.id = o.message_id JOIN threads AS t ON t.id = o.thread_id
    WHERE t.lane = ? ORDER BY o.id DESC LIMIT ?
"""
ANSWERS = """
    SELECT m.source, m.job_id, m.outcome, m.answered_by,
           count(*) FILTER (WHERE o.state IN ('ready', 'sending', 'ambiguous')),
           count(*) FILTER (WHERE o.state = 'sent'), count(*) FILTER (WHERE o.state = 'sent' AND o.reconciled = 1)
    FROM messages AS m LEFT JOIN outbox AS o ON o.message_id = m.answered_by
    WHERE m.direction = 'in' GROUP BY m.id ORDER BY m.id
"""
REFERENCES = "SELECT message_id, reference FROM outbox ORDER BY id"
UNPROMPTED = f"""
    SELECT o.reference FROM outbox AS o JOIN messages AS m ON m.id = o.message_id
    WHERE m.author <> 'ai' OR m.source LIKE '{rows.NOTICE}%' OR m.source LIKE '{rows.HANDOVER}%'
"""
