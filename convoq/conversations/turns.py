"""Contacts, conversations and messages in the database: the steps of a turn that must not be half done."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from convoq.ai.base import ModelCall
from convoq.channels.base import Inbound, Keyword
from convoq.conversations import rows
from convoq.conversations.records import Draft, Message, Turn
from convoq.conversations.states import CloseReason, Outcome, Owner, Status, check_transition
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.jobs import conversation_key
from convoq.queue.base import Fence


@dataclass(frozen=True, slots=True)
class Received:
    """A message and the job that carried it."""

    inbound: Inbound
    job_id: str
    accepted_at: int


class ConversationStore:
    """Every method is one transaction, safe to repeat. Those that take a fence raise LeaseLost and write nothing when
    the claim behind it is no longer ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, messages: Sequence[Received], fence: Fence) -> int:
        """Stores what people wrote, once each; returns the conversation that the last one belongs to."""
        now = self._database.clock.now()

        def unit(tx: Transaction) -> int:
            fence.check(tx)
            return [_record(tx, message, now) for message in messages][-1]

        return await self._database.write(unit)

    async def turn(self, conversation_id: int, job_ids: Collection[str]) -> Turn:
        """Those of the jobs' messages that wait for an answer; none when all have an outcome.

        A message whose job is in the dead letters is not among them: it must not take later ones with it.
        """

        def unit(tx: Transaction) -> Turn:
            waiting = rows.messages(tx, conversation_id, "m.outcome IS NULL AND m.direction = 'in'")
            ours = tuple(message for message in waiting if message.job_id in job_ids)
            return Turn(conversation=rows.conversation(tx, conversation_id), waiting=ours)

        return await self._database.read(unit)

    async def history(self, turn: Turn, *, limit: int = 100) -> list[Message]:
        """What has been said, oldest first, then the turn's own messages; at most the newest `limit` lines.

        The turn comes last even where an answer to others is younger: else it would look answered, or those would not.
        A message that no answer could be made for may be the reason, so it is left out.
        """

        def unit(tx: Transaction) -> list[Message]:
            settled = rows.newest_settled(tx, turn.conversation.id, turn.through, limit)
            return [*settled, *turn.waiting][-limit:]

        return await self._database.read(unit)

    async def conclude(self, turn: Turn, outcome: Outcome, fence: Fence) -> None:
        """The turn's messages get no answer, and their rows say why."""

        def unit(tx: Transaction) -> None:
            fence.check(tx)
            _conclude(tx, turn.waiting, outcome)

        await self._database.write(unit)

    async def give_up(self, job_ids: Collection[str], fence: Fence) -> None:
        """These jobs go to the dead letters, and their messages' rows say so; a retry makes them wait again."""

        def unit(tx: Transaction) -> None:
            fence.check(tx)
            tx.executemany(
                "UPDATE messages SET outcome = 'failed' WHERE job_id = ? AND direction = 'in' AND outcome IS NULL",
                [(job_id,) for job_id in job_ids],
            )

        await self._database.write(unit)

    async def draft(self, turn: Turn) -> Draft | None:
        """The saved draft of this very turn."""

        def unit(tx: Transaction) -> Draft | None:
            row = tx.execute(
                "SELECT text, model FROM drafts WHERE conversation_id = ? AND through_id = ? AND covers = ?",
                (turn.conversation.id, turn.through, turn.covers),
            ).fetchone()
            return Draft(*row) if row else None

        return await self._database.read(unit)

    async def save_draft(self, turn: Turn, draft: Draft, fence: Fence) -> None:
        """Saves the answer before anything is done with it; drafts of shorter turns are superseded."""
        now = self._database.clock.now()

        def unit(tx: Transaction) -> None:
            fence.check(tx)
            tx.execute(
                "UPDATE drafts SET state = 'superseded' WHERE conversation_id = ? AND state = 'draft'",
                (turn.conversation.id,),
            )
            tx.execute(
                """INSERT INTO drafts (conversation_id, through_id, covers, state, text, model, created_at)
                   VALUES (?, ?, ?, 'draft', ?, ?, ?) ON CONFLICT (conversation_id, through_id) DO UPDATE
                   SET covers = excluded.covers, state = 'draft', text = excluded.text, model = excluded.model,
                       created_at = excluded.created_at""",
                (turn.conversation.id, turn.through, turn.covers, draft.text, draft.model, now),
            )

        await self._database.write(unit)

    async def commit_reply(
        self, turn: Turn, text: str, parts: Sequence[str], fence: Fence, *, even_if_newer: bool
    ) -> bool:
        """The reply, its outbox rows and the outcome of what it answers: all of it, or nothing.

        False, and nothing written, when newer messages stand in the lane (unless `even_if_newer`) or the conversation
        is no longer the AI's.
        """
        now = self._database.clock.now()
        conversation_id = turn.conversation.id

        def unit(tx: Transaction) -> bool:
            fence.check(tx)
            if not even_if_newer and fence.has_newer(tx):
                return False
            if rows.conversation(tx, conversation_id).owner is not Owner.AI:
                return False
            message_id = _add_outgoing(
                tx, conversation_id, "ai", f"turn:{conversation_id}:{turn.through}", text, parts, now
            )
            _conclude(tx, turn.waiting, Outcome.ANSWERED, message_id)
            tx.execute(
                "UPDATE drafts SET state = 'committed' WHERE conversation_id = ? AND through_id = ?",
                (conversation_id, turn.through),
            )
            tx.execute(
                """UPDATE conversations SET answered_through = max(answered_through, ?), last_message_at = ?
                   WHERE id = ?""",
                (turn.through, now, conversation_id),
            )
            return True

        return await self._database.write(unit)

    async def add_message(
        self,
        channel: str,
        our_address: str,
        address: str,
        text: str,
        parts: Sequence[str],
        *,
        source: str,
        fence: Fence,
    ) -> int:
        """A message of our own in a person's conversation, once for each `source`. Returns the conversation."""
        now = self._database.clock.now()

        def unit(tx: Transaction) -> int:
            fence.check(tx)
            known = tx.execute("SELECT conversation_id FROM messages WHERE source = ?", (source,)).fetchone()
            if known is not None:
                return int(known[0])
            contact_id = _contact(tx, channel, address, None, now)
            lane = conversation_key(channel, our_address, address)
            conversation_id = _open_conversation(tx, contact_id, our_address, lane, now, now, who="system")
            _add_outgoing(tx, conversation_id, "system", source, text, parts, now)
            tx.execute("UPDATE conversations SET last_message_at = ? WHERE id = ?", (now, conversation_id))
            return conversation_id

        return await self._database.write(unit)

    async def record_call(self, turn: Turn, call: ModelCall) -> None:
        """What one request to a model cost. Never refused: it was paid for, whoever holds the claim."""
        now = self._database.clock.now()
        values = (
            *(turn.conversation.id, turn.through, call.model, call.outcome),
            *(call.input_tokens, call.output_tokens, call.duration_ms, call.error, now),
        )
        await self._database.write(lambda tx: tx.execute(INSERT_CALL, values), durable=False)

    async def mark_idle(self, *, silent_for: float, limit: int) -> int:
        """One batch of active conversations that have been silent for that many seconds becomes idle."""
        return await self._age(Status.ACTIVE, Status.IDLE, None, silent_for, limit)

    async def close_expired(self, *, silent_for: float, limit: int) -> int:
        """One batch of conversations that have been silent for that many seconds is closed."""
        closed = 0
        for status in (Status.ACTIVE, Status.IDLE):
            closed += await self._age(status, Status.CLOSED, CloseReason.EXPIRED, silent_for, limit - closed)
        return closed

    async def _age(
        self, before: Status, after: Status, reason: CloseReason | None, silent_for: float, limit: int
    ) -> int:
        now = self._database.clock.now()

        def unit(tx: Transaction) -> int:
            silent = tx.execute(SILENT, (before, now - round(silent_for * 1000), limit)).fetchall()
            for (conversation_id,) in silent:
                _move(
                    tx,
                    conversation_id,
                    after,
                    who="upkeep",
                    why=f"silent for {silent_for:g} s",
                    now=now,
                    reason=reason,
                )
            return len(silent)

        return await self._database.write(unit)


INSERT_CALL = """
    INSERT INTO model_calls
        (conversation_id, through_id, model, outcome, input_tokens, output_tokens, duration_ms, error, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# A conversation with a job in the queue (lanes is the queue's own table) or a part to be sent is not silent.
SILENT = """
    SELECT id FROM conversations AS c WHERE status = ? AND status <> 'closed' AND last_message_at <= ?
    AND NOT EXISTS (SELECT 1 FROM lanes WHERE lanes.lane = c.lane)
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE conversation_id = c.id AND state IN ('ready', 'sending', 'ambiguous'))
    ORDER BY last_message_at LIMIT ?
"""
UPSERT_CONTACT = """
    INSERT INTO contacts (channel, address, name, first_seen_at, last_seen_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (channel, address) DO UPDATE
    SET name = coalesce(excluded.name, name), last_seen_at = max(last_seen_at, excluded.last_seen_at)
    RETURNING id
"""


def _record(tx: Transaction, received: Received, now: int) -> int:
    """Stores one message and returns its conversation; a message that has its outcome changes nothing."""
    inbound = received.inbound
    source = f"{inbound.channel}:{inbound.provider_id}"
    known = tx.execute("SELECT conversation_id, outcome FROM messages WHERE source = ?", (source,)).fetchone()
    if known is not None and known[1] not in (None, Outcome.FAILED):
        return int(known[0])
    contact_id = _contact(tx, inbound.channel, inbound.address, inbound.profile_name, received.accepted_at)
    lane = conversation_key(inbound.channel, inbound.our_address, inbound.address)
    conversation_id = _open_conversation(
        tx, contact_id, inbound.our_address, lane, received.accepted_at, now, who="contact"
    )
    if known is not None:
        # Back from the dead letters, its conversation may be over: it waits in the present one, with those after it.
        tx.execute(
            "UPDATE messages SET outcome = NULL, conversation_id = ? WHERE source = ?", (conversation_id, source)
        )
        return conversation_id
    _insert_inbound(tx, conversation_id, source, received)
    if inbound.keyword is not None:
        _apply_keyword(tx, conversation_id, contact_id, inbound, now)
    return conversation_id


def _contact(tx: Transaction, channel: str, address: str, name: str | None, at: int) -> int:
    row = tx.execute(UPSERT_CONTACT, (channel, address, name, at, at)).fetchone()
    return int(row[0])


def _open_conversation(
    tx: Transaction, contact_id: int, our_address: str, lane: str, at: int, now: int, *, who: str
) -> int:
    """The person's open conversation, made active; reopened or begun where there is none."""
    last = tx.execute(
        """SELECT id, status, closed_reason, closed_at FROM conversations
           WHERE contact_id = ? AND our_address = ? ORDER BY id DESC LIMIT 1""",
        (contact_id, our_address),
    ).fetchone()
    if last is not None:
        conversation_id, status, reason, closed_at = last
        # Accepted before upkeep closed it: the person never knew of a closing, so it is the same conversation.
        overtaken = status == Status.CLOSED and reason in (CloseReason.IDLE, CloseReason.EXPIRED) and at <= closed_at
        if status == Status.IDLE or overtaken:
            _move(tx, conversation_id, Status.ACTIVE, who=who, why="a message came", now=now)
        if status != Status.CLOSED or overtaken:
            return int(conversation_id)
    return _begin(tx, contact_id, our_address, lane, at, last[0] if last else None, who, now)


def _begin(
    tx: Transaction, contact_id: int, our_address: str, lane: str, at: int,
    previous: int | None, who: str, now: int,
) -> int:  # fmt: skip
    # When the person wrote last goes with it: WhatsApp's window knows nothing of our conversations.
    row = tx.execute(
        """INSERT INTO conversations
               (contact_id, our_address, lane, owner, status, opened_at, last_message_at, previous_id, last_inbound_at)
           VALUES (:contact, :ours, :lane, 'ai', 'active', :at, :at, :previous,
                   (SELECT last_inbound_at FROM conversations WHERE id = :previous)) RETURNING id""",
        {"contact": contact_id, "ours": our_address, "lane": lane, "at": at, "previous": previous},
    ).fetchone()
    _log_transition(tx, row[0], now, who, "opened", (None, Owner.AI), (None, Status.ACTIVE))
    return int(row[0])


def _insert_inbound(tx: Transaction, conversation_id: int, source: str, received: Received) -> None:
    inbound = received.inbound
    media = json.dumps([{"url": item.url, "content_type": item.content_type} for item in inbound.media])
    tx.execute(
        """INSERT INTO messages (conversation_id, direction, author, source, job_id, body, description, media, at)
           VALUES (?, 'in', 'contact', ?, ?, ?, ?, ?, ?)""",
        (conversation_id, source, received.job_id, inbound.text, inbound.description, media, received.accepted_at),
    )
    tx.execute(
        """UPDATE conversations SET last_message_at = max(last_message_at, :at),
           last_inbound_at = max(coalesce(last_inbound_at, 0), :at) WHERE id = :id""",
        {"at": received.accepted_at, "id": conversation_id},
    )


def _apply_keyword(tx: Transaction, conversation_id: int, contact_id: int, inbound: Inbound, now: int) -> None:
    """STOP, START and YES take effect before any AI; what the carrier answers itself, no AI answers."""
    (last,) = tx.execute("SELECT max(id) FROM messages WHERE conversation_id = ?", (conversation_id,)).fetchone()
    if inbound.keyword is Keyword.STOP:
        tx.execute("UPDATE contacts SET opted_out_at = ? WHERE id = ?", (now, contact_id))
        waiting = rows.messages(tx, conversation_id, "m.outcome IS NULL AND m.direction = 'in'")
        _conclude(tx, waiting[:-1], Outcome.OPTED_OUT)
        _conclude(tx, waiting[-1:], Outcome.KEYWORD)
        closed = CloseReason.OPTED_OUT
        _move(tx, conversation_id, Status.CLOSED, who="contact", why="STOP", now=now, reason=closed)
        return
    opted_in = inbound.keyword in (Keyword.START, Keyword.YES) and _opt_in(tx, contact_id)
    if inbound.carrier_replies and (opted_in or inbound.keyword is not Keyword.YES):
        tx.execute("UPDATE messages SET outcome = ? WHERE id = ?", (Outcome.KEYWORD, last))


def _opt_in(tx: Transaction, contact_id: int) -> bool:
    """Whether the person had opted out until now."""
    changed = tx.execute(
        "UPDATE contacts SET opted_out_at = NULL WHERE id = ? AND opted_out_at IS NOT NULL", (contact_id,)
    )
    return changed.rowcount > 0


def _conclude(tx: Transaction, messages: Sequence[Message], outcome: Outcome, answered_by: int | None = None) -> None:
    tx.executemany(
        "UPDATE messages SET outcome = ?, answered_by = ? WHERE id = ? AND outcome IS NULL",
        [(outcome, answered_by, message.id) for message in messages],
    )


def _add_outgoing(
    tx: Transaction,
    conversation_id: int,
    author: str,
    source: str,
    text: str,
    parts: Sequence[str],
    now: int,
) -> int:
    row = tx.execute(
        """INSERT INTO messages (conversation_id, direction, author, source, body, description, at)
           VALUES (?, 'out', ?, ?, ?, ?, ?) RETURNING id""",
        (conversation_id, author, source, text, text, now),
    ).fetchone()
    tx.executemany(
        """INSERT INTO outbox (reference, conversation_id, message_id, part, body, state)
           VALUES (?, ?, ?, ?, ?, 'ready')""",
        [(secrets.token_hex(8), conversation_id, row[0], number, part) for number, part in enumerate(parts)],
    )
    return int(row[0])


def _move(
    tx: Transaction, conversation_id: int, after: Status, *, who: str, why: str, now: int,
    reason: CloseReason | None = None,
) -> None:  # fmt: skip
    """Changes the status and writes down who did it and why."""
    owner, before = tx.execute("SELECT owner, status FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if before == after:
        return
    check_transition(Status(before), after)
    closed_at = now if after is Status.CLOSED else None
    tx.execute(
        "UPDATE conversations SET status = ?, closed_reason = ?, closed_at = ? WHERE id = ?",
        (after, reason, closed_at, conversation_id),
    )
    _log_transition(tx, conversation_id, now, who, why, (owner, owner), (before, after))


def _log_transition(
    tx: Transaction, conversation_id: int, now: int, who: str, why: str,
    owner: tuple[str | None, str], status: tuple[str | None, str],
) -> None:  # fmt: skip
    tx.execute(
        """INSERT INTO transitions
               (conversation_id, at, who, reason, owner_before, owner_after, status_before, status_after)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (conversation_id, now, who, why, *owner, *status),
    )
