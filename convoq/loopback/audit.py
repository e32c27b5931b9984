"""Compares three records of each message: the webhook's 2xx, our database, Twilio's message list."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convoq.loopback.messages import TwilioMessage


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message that the webhook answered with a 2xx: a promise."""

    sid: str
    address: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """What the database says of one message that came in."""

    sid: str
    outcome: str | None = None  #: None while it waits
    dead: bool = False  #: its job is in the dead letters
    references: tuple[str, ...] = ()  #: of the parts of its answer
    unsettled: int = 0  #: parts that are still on their way
    sent: int = 0  #: parts that are said to be at Twilio


@dataclass(frozen=True, slots=True)
class DatabaseRecord:
    """The database's side."""

    entries: dict[str, MessageRecord]  #: by SID
    unprompted: frozenset[str] = frozenset()  #: references of what we said without being asked


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What the comparison found, by SID."""

    accepted: int
    answered: int
    waiting: tuple[str, ...]  #: not answered yet
    lost: tuple[str, ...]  #: accepted, and no answer will come
    doubled: tuple[str, ...]  #: at Twilio a second time, or an answer to nothing
    disordered: tuple[str, ...]  #: answered before an earlier message of the same person

    @property
    def passed(self) -> bool:
        """Whether each accepted message is answered exactly once, and in order."""
        return self.answered == self.accepted and not (self.waiting or self.lost or self.doubled or self.disordered)


def audit(
    accepted: Sequence[AcceptedMessage], record: DatabaseRecord, at_twilio: Sequence[TwilioMessage]
) -> AuditResult:
    """Compares the three records; none of them is believed alone."""
    places = {message.reference: place for place, message in reversed(list(enumerate(at_twilio)))}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for promise in accepted:
        found[_standing(record.entries.get(promise.sid), places)].append(promise.sid)
    return AuditResult(
        accepted=len(accepted),
        answered=len(found["answered"]),
        waiting=tuple(found["waiting"]),
        lost=tuple(found["lost"]),
        doubled=tuple(_surplus(record, at_twilio)),
        disordered=tuple(_disordered(accepted, record, places)),
    )


def _standing(entry: MessageRecord | None, places: dict[str | None, int]) -> str:
    """Where one promise stands. Silence by decision (STOP, a person took over) is none of the three."""
    if entry is None or entry.dead:
        return "lost"
    if entry.outcome is None or entry.unsettled:
        return "waiting"
    if entry.outcome != "answered":
        return "silent"
    at_twilio = sum(reference in places for reference in entry.references)
    if at_twilio < entry.sent or not entry.references:
        return "lost"
    return "answered" if entry.sent == len(entry.references) else "silent"


def _surplus(record: DatabaseRecord, at_twilio: Sequence[TwilioMessage]) -> Iterator[str]:
    due = {reference for entry in record.entries.values() for reference in entry.references} | record.unprompted
    for message in at_twilio:
        if message.reference not in due:
            yield message.sid
        due -= {message.reference or ""}


def _disordered(
    accepted: Sequence[AcceptedMessage], record: DatabaseRecord, places: dict[str | None, int]
) -> Iterator[str]:
    latest: dict[str, int] = {}
    for promise in accepted:
        entry = record.entries.get(promise.sid)
        own = [places[reference] for reference in (entry.references if entry else ()) if reference in places]
        if own:
            if min(own) < latest.get(promise.address, 0):
                yield promise.sid
            latest[promise.address] = max(own)


def read_record(connection: sqlite3.Connection) -> DatabaseRecord:
    """The database's side as it stands now."""
    entries = {}
    for key, state in connection.execute(UNRECORDED):
        sid = _sid(key)
        entries[sid] = MessageRecord(sid=sid, dead=state == "dead")
    for source, outcome, dead, references, unsettled, sent in connection.execute(RECORDED):
        sid = _sid(source)
        entries[sid] = MessageRecord(
            sid=sid, outcome=outcome, dead=bool(dead), references=tuple((references or "").split()),
            unsettled=unsettled, sent=sent,
        )  # fmt: skip
    return DatabaseRecord(entries, frozenset(row[0] for row in connection.execute(UNPROMPTED)))


UNRECORDED = """
    SELECT dedup_key, state FROM jobs
    WHERE kind = 'process_ai_response' AND state IN ('ready', 'dead') AND dedup_key IS NOT NULL
"""
RECORDED = """
    SELECT m.source, m.outcome, coalesce(m.outcome IS NULL AND j.state = 'dead', 0), group_concat(o.reference, ' '),
           coalesce(sum(o.state IN ('ready', 'sending', 'ambiguous')), 0), coalesce(sum(o.state = 'sent'), 0)
    FROM messages AS m
    LEFT JOIN outbox AS o ON o.message_id = m.answered_by
    LEFT JOIN jobs AS j ON j.id = CAST(m.job_id AS INTEGER)
    WHERE m.direction = 'in' GROUP BY m.id ORDER BY m.id
"""
UNPROMPTED = """
    SELECT o.reference FROM outbox AS o JOIN messages AS m ON m.id = o.message_id WHERE m.author <> 'ai'
"""


def _sid(key: str) -> str:
    return key.rpartition(":")[2]
