"""Compares three records of each message: the webhook's 2xx, our database, Twilio's message list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from convoq.conversations.timeline import Timeline
from convoq.db.store import Store
from convoq.jobs import ReceiveMessage
from convoq.loopback.messages import TwilioMessage
from convoq.queue.base import JobAdmin, JobFilter, JobRecord, JobState


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
    dead: bool = False  #: no answer could be made: a job of it is in the dead letters
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
    silent: int  #: need no answer: STOP and the like, or a person took over
    undelivered: tuple[str, ...]  #: answered, but Twilio refused the answer or it never reached the phone
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
    failed = {message.reference for message in at_twilio if message.status in ("failed", "undelivered")}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for promise in accepted:
        found[_standing(record.entries.get(promise.sid), places, failed)].append(promise.sid)
    return AuditResult(
        accepted=len(accepted),
        answered=len(found["answered"]),
        silent=len(found["silent"]),
        undelivered=tuple(found["undelivered"]),
        waiting=tuple(found["waiting"]),
        lost=tuple(found["lost"]),
        doubled=tuple(_surplus(record, at_twilio)),
        disordered=tuple(_disordered(accepted, record, places)),
    )


def _standing(entry: MessageRecord | None, places: dict[str | None, int], failed: set[str | None]) -> str:
    """Where one promise stands."""
    if entry is None or entry.dead:
        return "lost"
    if entry.outcome is None or entry.unsettled:
        return "waiting"
    if entry.outcome != "answered":
        return "silent"
    at_twilio = sum(reference in places for reference in entry.references)
    if at_twilio < entry.sent or not entry.references:
        return "lost"
    reached = entry.sent == len(entry.references) and failed.isdisjoint(entry.references)
    return "answered" if reached else "undelivered"


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


async def read_record(database: Store, jobs: JobAdmin) -> DatabaseRecord:
    """The database's side as it stands now.

    The jobs are read first: a message that is recorded meanwhile is then seen twice, and one that was accepted before
    the call is in one of the two.
    """
    waiting = [job async for job in _unfinished(jobs)]
    dead = {job.id for job in waiting if job.state is JobState.DEAD}
    answers, unprompted = await Timeline(database).answers()
    entries = {_sid(job.dedup_key): MessageRecord(sid=_sid(job.dedup_key), dead=job.id in dead)
               for job in waiting if job.dedup_key is not None}  # fmt: skip
    for answer in answers:
        entries[_sid(answer.source)] = MessageRecord(
            sid=_sid(answer.source), outcome=answer.outcome, dead=answer.outcome == "failed",
            references=answer.references, unsettled=answer.unsettled, sent=answer.sent,
        )  # fmt: skip
    return DatabaseRecord(entries, unprompted)


async def _unfinished(jobs: JobAdmin) -> AsyncIterator[JobRecord]:
    """The jobs of messages that are still to be run, or failed for good; newest first."""
    where = JobFilter(kinds=(ReceiveMessage.kind,), states=(JobState.READY, JobState.DEAD))
    before = None
    while page := await jobs.list(where, before=before):
        for job in page:
            yield job
        before = page[-1].id


def _sid(key: str) -> str:
    return key.rpartition(":")[2]
