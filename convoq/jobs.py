"""Every kind of job as a frozen model: the wire contract between producers and workers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict

from convoq.prose import sendable

# Claim order: people who wait before upkeep. Every engine claims lower numbers first.
INTAKE: Final = 0
PEOPLE: Final = 1
NORMAL: Final = 2
UPKEEP: Final = 3
PRIORITIES: Final = (INTAKE, PEOPLE, NORMAL, UPKEEP)
INTAKE_KIND: Final = "receive_message"  #: of this kind alone: it has slots of its own, which nothing slow may take

RESERVED: Final = "~"  #: what no ordering key may begin with: lanes of the queue's own do
LONGEST_DELAY: Final = 10 * 366 * 86_400.0
MOST_ATTEMPTS: Final = 100
RECEIVE_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as its producer hands it to the queue.

    Jobs that share an `ordering_key` run one at a time in the order they were enqueued. A `delay` (seconds) is
    only for jobs without one. A job whose `dedup_key` was enqueued before is a duplicate and is not stored again.
    A job is added beside those of its `waiting_key` only while they run: one that waits is joined instead.
    """

    kind: str
    payload: str  #: a JSON object
    ordering_key: str | None = None
    dedup_key: str | None = None
    delay: float = 0.0
    priority: int = NORMAL
    max_attempts: int | None = None  #: None: the queue's default
    waiting_key: str | None = None
    start_within: float | None = None  #: seconds; a job that no worker has begun by then never runs

    def __post_init__(self) -> None:
        if self.delay and self.ordering_key is not None:
            raise ValueError("a delay is for jobs without an ordering key: it would hold back the whole lane")
        if self.ordering_key is not None and (not self.ordering_key or self.ordering_key.startswith(RESERVED)):
            raise ValueError(
                f'an ordering key is not empty and does not start with "{RESERVED}": {self.ordering_key!r}'
            )
        if self.dedup_key is not None and not self.dedup_key.strip():
            raise ValueError("a dedup key is not empty: all jobs that share one are the first of them")
        if not 0 <= self.delay <= LONGEST_DELAY:
            raise ValueError(f"a delay is 0 to {LONGEST_DELAY:g} seconds, not {self.delay}")
        if self.start_within is not None and not 0 <= self.start_within <= LONGEST_DELAY:
            raise ValueError(f"start_within is 0 to {LONGEST_DELAY:g} seconds, not {self.start_within}")
        if self.max_attempts is not None and not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            raise ValueError(f"max_attempts is 1 to {MOST_ATTEMPTS}, not {self.max_attempts}")
        if self.priority not in PRIORITIES or (self.priority == INTAKE and self.kind != INTAKE_KIND):
            raise ValueError(
                f"priority is {PEOPLE} (people), {NORMAL} (normal) or {UPKEEP} (upkeep), not {self.priority}"
            )


class Payload(BaseModel):
    """What a job carries. Unknown fields are ignored, so an older worker reads a newer producer's job."""

    # Built when first used: no process uses all of them, and most commands none.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    kind: ClassVar[str]

    def job(
        self,
        *,
        ordering_key: str | None = None,
        dedup_key: str | None = None,
        delay: float = 0.0,
        priority: int = NORMAL,
        max_attempts: int | None = None,
    ) -> NewJob:
        """This payload as a job to enqueue."""
        return NewJob(
            kind=self.kind,
            payload=self.model_dump_json(exclude_none=True),
            ordering_key=ordering_key,
            dedup_key=dedup_key,
            delay=delay,
            priority=priority,
            max_attempts=max_attempts,
        )


class ReceiveMessage(Payload):
    """A message that a person wrote to us: the webhook's form exactly as received, in its order."""

    kind: ClassVar[str] = "receive_message"
    channel: str = "twilio"
    form: tuple[tuple[str, str], ...]
    written_at: int | None = None  #: wall ms, where it was found on the channel's list instead of coming by itself
    answered: bool | None = None  #: from elsewhere, as that list shows


class ProcessAiResponse(Payload):
    """A turn of one thread: what waits there is answered. It says only where to look; the store says what waits."""

    kind: ClassVar[str] = "process_ai_response"
    thread: int  #: its id in the store


class RecordDeliveryStatus(Payload):
    """What the channel says became of a message that we sent."""

    kind: ClassVar[str] = "record_delivery_status"
    channel: str = "twilio"
    form: tuple[tuple[str, str], ...]
    reference: str | None = None  #: our own id, carried in the callback's URL


class SendMessage(Payload):
    """A message of our own to one person, in the order of their conversation."""

    kind: ClassVar[str] = "send_message"
    channel: str = "twilio"
    our_address: str
    address: str
    body: Annotated[str, AfterValidator(sendable)]  #: as typed, without what cannot be encoded or seen


class SendAgain(Payload):
    """A part that the channel could not deliver is to be sent once more, if nothing speaks against it by then."""

    kind: ClassVar[str] = "send_again"
    part: int  #: its id in the store


class ProcessIdle(Payload):
    """Mark conversations idle that have been silent for a while."""

    kind: ClassVar[str] = "process_idle"


class ProcessExpired(Payload):
    """Close conversations that have been silent for a long while."""

    kind: ClassVar[str] = "process_expired"


class WakeThreads(Payload):
    """Give a turn to each thread in which something has waited for a while that no job comes for."""

    kind: ClassVar[str] = "wake_threads"


class ProcessHandovers(Payload):
    """Let conversations go on that no person of ours takes, or that one lets lie."""

    kind: ClassVar[str] = "process_handovers"


class CatchUp(Payload):
    """Look on the channels' lists for messages whose webhook never reached us."""

    kind: ClassVar[str] = "catch_up"


class SendNotifications(Payload):
    """Tell one target what waits for it. It says only whom; the store says what."""

    kind: ClassVar[str] = "send_notifications"
    target: str  #: webhook, mail


class AnswerOperator(Payload):
    """What came of a text from an operator's own phone is said there."""

    kind: ClassVar[str] = "answer_operator"
    channel: str
    our_address: str
    address: str
    text: str  #: without words of a customer
    shows: int | None = None  #: the conversation whose last words are added as they are sent


class ErasePeople(Payload):
    """Bring the erasures to their end that were asked for. It says only that; the store says whose."""

    kind: ClassVar[str] = "erase_people"


class RunBulkAct(Payload):
    """Do to many jobs what an operator asked for. It says only which act; the store says what, and to which jobs."""

    kind: ClassVar[str] = "run_bulk_act"
    bulk: int  #: its id in the store


class Housekeeping(Payload):
    """Prune what is past its retention and keep the database file tidy."""

    kind: ClassVar[str] = "housekeeping"


BUILT_IN: Final[dict[str, type[Payload]]] = {
    model.kind: model
    for model in (
        *(ReceiveMessage, ProcessAiResponse, SendMessage, RecordDeliveryStatus, SendAgain, SendNotifications),
        *(AnswerOperator, ErasePeople, RunBulkAct),
        *(ProcessIdle, ProcessExpired, ProcessHandovers, WakeThreads, CatchUp, Housekeeping),
    )
}


def receive_key(channel: str, our_address: str, address: str) -> str:
    """The ordering key of what one person writes to one of our addresses."""
    return f"in|{channel}|{our_address}|{address}"


def turn_key(channel: str, our_address: str, address: str) -> str:
    """The ordering key of what we say to one person from one of our addresses: never in two places at a time."""
    return f"turn|{channel}|{our_address}|{address}"


#: Kinds whose own attempts say nothing: the store counts how often a message was tried.
COUNTED_BY_MESSAGE: Final = frozenset({ProcessAiResponse.kind, SendNotifications.kind})


def turn_job(thread_id: int, lane: str) -> NewJob:
    """A turn of the thread whose lane that is."""
    return ProcessAiResponse(thread=thread_id).job(ordering_key=lane, priority=PEOPLE, max_attempts=MOST_ATTEMPTS)


def notification_job(target: str) -> NewJob:
    """One at a time for each target, so that a silent one holds one slot at most."""
    payload = SendNotifications(target=target)
    return payload.job(ordering_key=f"notify|{target}", max_attempts=MOST_ATTEMPTS)


def erasure_job() -> NewJob:
    """One at a time: each writes the files anew."""
    return ErasePeople().job(ordering_key="erase_people", priority=UPKEEP, max_attempts=MOST_ATTEMPTS)


def bulk_job(bulk_id: int) -> NewJob:
    """Of one act on many jobs."""
    return RunBulkAct(bulk=bulk_id).job(ordering_key=f"bulk|{bulk_id}", max_attempts=MOST_ATTEMPTS)


def receive_job(payload: ReceiveMessage, our_address: str, address: str, *, dedup_key: str | None = None) -> NewJob:
    """A form that a person's message came in. Tried a few times only: a STOP may stand behind it."""
    key = receive_key(payload.channel, our_address, address)
    return payload.job(ordering_key=key, dedup_key=dedup_key, priority=INTAKE, max_attempts=RECEIVE_ATTEMPTS)


def message_job(our_address: str, address: str, body: str, *, dedup_key: str | None = None) -> NewJob:
    """A message of our own to one person as a job in their thread's lane."""
    payload = SendMessage(our_address=our_address, address=address, body=body)
    return payload.job(ordering_key=turn_key(payload.channel, our_address, address), dedup_key=dedup_key)


def _json(payload: dict[str, object]) -> str:
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character: JSON can only spell it as an escape
        return json.dumps(payload, allow_nan=False, separators=(",", ":"))
    return text


def raw_job(
    kind: str,
    payload: dict[str, object],
    *,
    ordering_key: str | None = None,
    dedup_key: str | None = None,
    delay: float = 0.0,
    priority: int = NORMAL,
    max_attempts: int | None = None,
) -> NewJob:
    """A job of any kind, the user's own included. A built-in kind is checked against its model (ValueError).

    Messages always stand in their thread's lane: that keeps them in order and from being sent twice.
    """
    if kind == ProcessAiResponse.kind:
        raise ValueError("a turn is enqueued with the message that waits for it; wake_threads looks for forgotten ones")
    if kind in BUILT_IN:
        # A producer's misspelt field; a worker that reads one of a newer producer's ignores it.
        model = BUILT_IN[kind].model_validate(payload, extra="forbid")
        if isinstance(model, ReceiveMessage):
            fields = dict(model.form)
            return receive_job(model, fields.get("To", ""), fields.get("From", ""), dedup_key=dedup_key)
        if isinstance(model, SendMessage):
            ordering_key = turn_key(model.channel, model.our_address, model.address)
            payload = payload | {"body": model.body}
    return NewJob(
        kind=kind,
        payload=_json(payload),
        ordering_key=ordering_key,
        dedup_key=dedup_key,
        delay=delay,
        priority=priority,
        max_attempts=max_attempts,
    )
