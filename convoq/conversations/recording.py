"""Writes down what people wrote to us, once each, and what follows from it at once: consent, who answers, a turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from convoq.channels.base import Inbound, Keyword
from convoq.clock import Clock
from convoq.conversations import rows
from convoq.conversations.asking import asks_for_person
from convoq.conversations.catching_up import note_addresses
from convoq.conversations.choosing import OVERTAKEN_AT, choose
from convoq.conversations.closing import closing_in
from convoq.conversations.confirming import Confirmations, confirm_opt_out
from convoq.conversations.consent import has_opted_out, is_taken_back, opt_in, opt_out
from convoq.conversations.handing_over import HandoverRules, hand_over
from convoq.conversations.lifecycle import move, open_conversation, touch
from convoq.conversations.phone_commands import Answered, run_command
from convoq.conversations.records import Handover
from convoq.conversations.rules import OUTCOME_OF, may_write
from convoq.conversations.senders import Sender, find_sender
from convoq.conversations.states import CloseReason, HandedReason, Outcome, Status
from convoq.conversations.threads import Thread, reach, take_token
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.phone import addresses_beside

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """A message and the job that carried it."""

    inbound: Inbound
    job_id: str
    accepted_at: int
    written_at: int | None = None  #: wall ms, of one that was found on the channel's list
    answered: bool = False  #: from elsewhere, as that list shows


class Recorder:
    """Recording is right whichever worker does it, so it takes no token, and repeating it changes nothing."""

    def __init__(
        self,
        database: Store,
        wall: Clock,
        handover: HandoverRules,
        confirmations: Confirmations | None = None,
        *,
        reopen_within: float = 0,
        closing_phrases: bool = False,
        ours: Collection[str] = (),
    ) -> None:
        """`confirmations` has what a STOP is answered with where the channel does not; without it, nothing is said.

        `reopen_within`: seconds after its closing in which a message goes on with a conversation. `closing_phrases`:
        whether nothing but thanks or goodbye needs no answer. `ours`: addresses of ours, also those without
        a message yet.
        """
        self._database = database
        self._wall = wall
        numbers = frozenset(beside for address in ours for beside in addresses_beside(address))
        self._rules = RecordingRules(handover, confirmations, round(reopen_within * 1000), closing_phrases, numbers)

    async def record(
        self, messages: Sequence[Received], wake: Callable[[Transaction, Recorded], T], *, durable: bool = False
    ) -> tuple[T, list[Inbound]]:
        """Stores what people wrote; `wake` is called in the same transaction with what follows from it.
        What it returns, and what has come from addresses of ours.

        Not fsynced unless it has to be `durable`: where `wake` acks the job that carried a message, that comes back
        with everything else that a power cut takes.
        """
        return await self._database.write(self._record, messages, wake, durable=durable)

    def _record(
        self, tx: Transaction, messages: Sequence[Received], wake: Callable[[Transaction, Recorded], T]
    ) -> tuple[T, list[Inbound]]:
        now = self._database.clock.now()
        recorded = record(tx, messages, now, self._wall.now() - now, self._rules)
        return wake(tx, recorded), recorded.ours


class RecordingRules(NamedTuple):
    """What follows from a message at once."""

    handover: HandoverRules
    confirmations: Confirmations | None
    reopen_within: int  #: ms
    closing_phrases: bool
    ours: frozenset[str] = frozenset()


class Recorded(NamedTuple):
    """What is new on record."""

    threads: list[Thread]  #: in which something waits or pends now
    ours: list[Inbound]  #: from addresses of ours
    answered: list[tuple[Inbound, Answered]]  #: what operators texted from their own phones: done, and kept nowhere
    of_erased: bool = (
        False  #: whether something came from who was erased since it was accepted: it is kept nowhere either
    )


def record(
    tx: Transaction, messages: Sequence[Received], now: int, wall_offset: int, rules: RecordingRules
) -> Recorded:
    """`wall_offset`: ms from the queue's clock to the wall's."""
    touched: dict[int, Thread] = {}
    ours: list[Inbound] = []
    answered: list[tuple[Inbound, Answered]] = []
    of_erased = False
    messages = [_as_written(received, wall_offset) for received in messages]
    note_addresses(tx, [received.inbound for received in messages if received.written_at is None], now + wall_offset)
    for received in messages:
        inbound, sender = received.inbound, _sender_of(tx, received.inbound, rules)
        ours += [inbound] if sender.is_ours else []
        if sender.operator is not None and inbound.keyword not in (Keyword.STOP, Keyword.START):
            done = _run(tx, sender.operator, inbound, now, now + wall_offset)
            answered.append((inbound, done))
            touched |= {thread.id: thread for thread in done.wakes}
            continue
        threads = _record_one(tx, received, now, wall_offset, rules, sender)
        of_erased = of_erased or not threads
        touched |= {thread.id: thread for thread in threads}
    job_ids = {received.job_id for received in messages}
    unsettled = [
        thread._replace(failing=thread.failing or _is_held_up(tx, thread.id, job_ids))
        for thread in touched.values()
        if rows.is_unsettled(tx, thread.id)
    ]
    return Recorded(unsettled, ours, answered, of_erased)


def _run(tx: Transaction, operator: str, inbound: Inbound, now: int, wall_now: int) -> Answered:
    key = f"{inbound.channel}:{inbound.provider_id}"
    return run_command(tx, operator, inbound.text, inbound.our_address, key, now, wall_now)


def _as_written(received: Received, wall_offset: int) -> Received:
    """What comes late counts as accepted when it was written."""
    if received.written_at is None:
        return received
    return replace(received, accepted_at=min(received.accepted_at, received.written_at - wall_offset))


def _record_one(
    tx: Transaction, received: Received, now: int, wall_offset: int, rules: RecordingRules, sender: Sender
) -> list[Thread]:
    """Stores one message; a known one changes nothing, but its thread gets its turn all the same. Returns the threads
    that it concerns: none where the person was erased since it was accepted, of whom nothing is stored."""
    inbound = received.inbound
    place = (inbound.channel, inbound.our_address, inbound.address)
    at = received.accepted_at
    if (reached := reach(tx, *place, inbound.profile_name, at, accepted_at=at)) is None:
        return []
    contact_id, thread = reached
    source = f"{inbound.channel}:{inbound.provider_id}"
    if tx.execute("SELECT 1 FROM messages WHERE source = ?", (source,)).fetchone() is not None:
        return [thread]
    conversation_id = open_conversation(
        tx, thread.id, received.accepted_at, now, who="contact", reopen_within=rules.reopen_within
    )
    message_id = _insert_inbound(tx, thread.id, conversation_id, source, received, wall_offset)
    touched = [thread]
    if sender.is_ours:
        _set_outcome(tx, message_id, Outcome.OURS)
        return touched
    text, confirmations = "", rules.confirmations
    is_late = received.written_at is not None
    if is_late and inbound.keyword is Keyword.STOP and is_taken_back(tx, contact_id, received.accepted_at):
        _set_outcome(tx, message_id, Outcome.KEYWORD)
        return touched
    if inbound.keyword is Keyword.STOP and confirmations and not inbound.carrier_replies:
        text = "" if has_opted_out(tx, contact_id) else confirmations.text(inbound)
    if inbound.keyword is not None:
        touched += _apply_keyword(
            tx, thread.id, contact_id, message_id, inbound, now, said_at=received.accepted_at, is_late=is_late
        )
    if text:
        confirm_opt_out(tx, thread.id, conversation_id, source, text, now, now + wall_offset)
        touched.append(thread._replace(failing=True))  # it waits for no turn that backs off
    if sender.operator is not None:
        _set_outcome(tx, message_id, Outcome.KEYWORD)
    if received.answered:
        _set_outcome(tx, message_id, Outcome.ELSEWHERE)
    if _waits(tx, message_id):
        _apply_gate(tx, conversation_id, message_id, inbound.text, rules.handover, now, now + wall_offset)
    if rules.closing_phrases and not inbound.media and _waits(tx, message_id):
        _apply_closing(tx, conversation_id, message_id, inbound.text, now)
    return touched


def _sender_of(tx: Transaction, inbound: Inbound, rules: RecordingRules) -> Sender:
    if inbound.address in rules.ours:
        return Sender(is_ours=True, operator=None)
    sender = find_sender(tx, inbound.channel, inbound.address)
    return sender._replace(operator=None) if sender.is_ours else sender


def _insert_inbound(
    tx: Transaction, thread_id: int, conversation_id: int, source: str, received: Received, wall_offset: int
) -> int:
    inbound, at = received.inbound, received.accepted_at
    media = json.dumps([{"url": item.url, "content_type": item.content_type} for item in inbound.media])
    row = tx.execute(
        """INSERT INTO messages
               (thread_id, conversation_id, direction, author, source, job_id, body, description, media, at, wall_at)
           VALUES (?, ?, 'in', 'contact', ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
        (
            *(thread_id, conversation_id, source, received.job_id, inbound.text, inbound.description, media, at),
            at + wall_offset,
        ),
    ).fetchone()
    touch(tx, conversation_id, at)
    tx.execute(JOIN_WHAT_WAITS, {"thread": thread_id, "message": row[0], "at": at, "wall": at + wall_offset})
    return int(row[0])


# Drafts that gave way to what has ended since, unanswered, are no reason to answer this one without what follows it.
JOIN_WHAT_WAITS = f"""
    UPDATE threads SET
        last_inbound_at = CASE WHEN last_inbound_at > :at THEN last_inbound_at ELSE :at END,
        last_inbound_wall = CASE WHEN last_inbound_wall > :wall THEN last_inbound_wall ELSE :wall END,
        superseded = CASE WHEN EXISTS (
            SELECT 1 FROM messages AS m WHERE m.thread_id = :thread AND m.id <> :message AND {rows.WAITS})
            THEN superseded ELSE 0 END
    WHERE id = :thread
"""


def _apply_keyword(
    tx: Transaction, thread_id: int, contact_id: int, message_id: int, inbound: Inbound, now: int,
    *, said_at: int, is_late: bool,
) -> list[Thread]:  # fmt: skip
    """STOP, START and YES take effect before any AI; what the carrier answers itself, no AI answers.

    Returns the other threads that this concerns.
    """
    if inbound.keyword is Keyword.STOP:
        _set_outcome(tx, message_id, Outcome.KEYWORD)
        return opt_out(tx, thread_id, now, why="STOP", said_at=said_at if is_late else now)
    is_start = inbound.keyword is Keyword.START
    opted_in = (is_start or inbound.keyword is Keyword.YES) and opt_in(
        tx, contact_id, said_at, is_start=is_start, is_late=is_late
    )
    if inbound.carrier_replies and (opted_in or inbound.keyword is not Keyword.YES):
        _set_outcome(tx, message_id, Outcome.KEYWORD)
    return []


def _apply_gate(
    tx: Transaction, conversation_id: int, message_id: int, text: str, rules: HandoverRules, now: int, wall_now: int
) -> None:
    """What no AI may answer does not wait; a person of ours is awaited where the AI is paused, or one is asked for."""
    conversation = rows.conversation(tx, conversation_id)
    refusal = may_write(conversation, author="ai")
    if refusal is None and rules.ai_may_ask and (language := asks_for_person(text)) is not None:
        take_token(tx, conversation.thread_id)
        asked = Handover(HandedReason.ASKED)
        hand_over(tx, conversation, asked, rules, now, wall_now, who="contact", language=language)
    elif refusal is not None and refusal.code == "paused":
        take_token(tx, conversation.thread_id)
        hand_over(tx, conversation, Handover(HandedReason.PAUSED), rules, now, wall_now, who="system")
    elif refusal is not None:
        _set_outcome(tx, message_id, OUTCOME_OF[refusal.code])


def _apply_closing(tx: Transaction, conversation_id: int, message_id: int, text: str, now: int) -> None:
    """After a message of ours thanks and goodbye need no answer, unless it asks something and they assent."""
    closing, last = closing_in(text), tx.execute(LAST_OF_OURS, (conversation_id,)).fetchone()
    if closing is None or last is None or (closing.assents and "?" in last[0]):
        return
    _set_outcome(tx, message_id, Outcome.NO_REPLY)
    conversation = rows.conversation(tx, conversation_id)
    if closing.is_goodbye and not rows.is_unsettled(tx, conversation.thread_id):
        reason = CloseReason.USER
        move(tx, conversation_id, Status.CLOSED, who="contact", why="said goodbye", now=now, reason=reason)


LAST_OF_OURS = "SELECT body FROM messages WHERE conversation_id = ? AND direction = 'out' ORDER BY id DESC LIMIT 1"


def _waits(tx: Transaction, message_id: int) -> bool:
    return (
        tx.execute(f"SELECT 1 FROM messages AS m WHERE m.id = ? AND {rows.WAITS}", (message_id,)).fetchone() is not None
    )


def _set_outcome(tx: Transaction, message_id: int, outcome: Outcome) -> None:
    tx.execute("UPDATE messages SET outcome = ? WHERE id = ? AND outcome IS NULL", (outcome, message_id))


def _is_held_up(tx: Transaction, thread_id: int, job_ids: Collection[str]) -> bool:
    """Whether what these jobs have carried waits for a turn that backs off, though the next look would choose it."""
    failing = f"SELECT 1 FROM messages AS m WHERE m.thread_id = ? AND {rows.WAITS} AND m.failures > 0"
    if tx.execute(failing, (thread_id,)).fetchone() is None:
        return False
    return any(message.job_id in job_ids for message in choose(tx, thread_id, OVERTAKEN_AT))
