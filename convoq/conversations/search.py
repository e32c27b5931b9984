"""Which conversations an operator asks for: from what is rare to its conversations, never through all that was said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from convoq.conversations import rows, text_index
from convoq.conversations.states import Owner, Status
from convoq.db.transaction import Transaction

MOST_CANDIDATES: Final = 20_000  # messages that are looked at one by one
WALKED: Final = 2000  # conversations, newest first, in which what many messages hold is looked for: an eighth, then all


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationFilter:
    """Which conversations: every given condition holds."""

    statuses: tuple[Status, ...] | None = None
    owners: tuple[Owner, ...] | None = None
    address: str | None = None  #: somewhere in the person's address
    text: str | None = None  #: somewhere in a message
    since: int | None = None  #: with a message then or later: ms on the queue's clock
    waiting: bool = False  #: a message waits for its answer
    failed: bool = False  #: a message was never answered, or a part of ours not sent or not delivered


def find(
    tx: Transaction, where: ConversationFilter, limit: int, before: tuple[int, int] | None, indexed: bool
) -> list[int]:
    """Ids, latest activity first; `before` is the (last_message_at, id) of the last one on the page before.

    `indexed`: the database has the index of texts.
    """
    holding = _conversations_with(tx, where.text) if indexed and where.text is not None else None
    if where.text is not None and holding is None:
        for walked in (WALKED // 8, WALKED):
            page = _walk(tx, where, limit, before, walked)
            if page is not None:
                return page
    return _page(tx, *_condition(where, holding), limit, before)


def count(tx: Transaction, where: ConversationFilter, indexed: bool, most: int) -> int:
    """At most `most`."""
    holding = _conversations_with(tx, where.text) if indexed and where.text is not None else None
    condition, values = _condition(where, holding)
    counting = f"SELECT count(*) FROM ({CHOSEN} WHERE {condition} LIMIT :most) AS found"
    return int(tx.execute(counting, {**values, "most": most}).fetchone()[0])


def _page(
    tx: Transaction, condition: str, values: dict[str, object], limit: int, before: tuple[int, int] | None
) -> list[int]:
    if before is not None:
        condition += " AND (c.last_message_at, c.id) < (:at, :id)"
        values |= {"at": before[0], "id": before[1]}
    found = tx.execute(f"{CHOSEN} WHERE {condition} {NEWEST}", {**values, "limit": limit})
    return [conversation_id for (conversation_id,) in found]


def _conversations_with(tx: Transaction, text: str) -> list[int] | None:
    """Those with the text in a message; None when the index can't tell, or the text is in too many messages."""
    candidates = text_index.candidates(tx, text, MOST_CANDIDATES)
    if candidates is None:
        return None
    values = {"text": text, "ids": json.dumps(candidates), "through": text_index.indexed_through(tx)}
    return [conversation_id for (conversation_id,) in tx.execute(INDEXED_WITH_TEXT, values)]


def _walk(
    tx: Transaction, where: ConversationFilter, limit: int, before: tuple[int, int] | None, walked: int
) -> list[int] | None:
    """The page, from the newest conversations alone: what is in many messages is in them. None when it is not."""
    newest = _page(tx, *_condition(replace(where, text=None), None), walked, before)
    page: list[int] = []
    for conversation_id in newest:
        if len(page) == limit:
            break
        if tx.execute(HAS_TEXT, {"id": conversation_id, "text": where.text}).fetchone() is not None:
            page.append(conversation_id)
    return page if len(page) == limit or len(newest) < walked else None


def _condition(where: ConversationFilter, holding: Sequence[int] | None) -> tuple[str, dict[str, object]]:
    """`holding`: where it is known which conversations hold the text."""
    clauses = ["true"]
    values: dict[str, object] = {}
    for column, wanted in (("status", where.statuses), ("owner", where.owners)):
        if wanted is not None:
            names = [f"{column}{index}" for index in range(len(wanted))]
            clauses.append(f"c.{column} IN ({', '.join(':' + name for name in names)})")
            values |= dict(zip(names, wanted, strict=True))
    if where.address is not None:
        clauses.append(f"c.thread_id IN ({THREADS_OF})")
        values["address"] = where.address
    if holding is not None:
        clauses.append("c.id IN (SELECT value FROM json_each(:holding))")
        values["holding"] = json.dumps(holding)
    elif where.text is not None:
        clauses.append(f"c.id IN ({WITH_TEXT})")
        values["text"] = where.text
    if where.since is not None:
        clauses.append("c.last_message_at >= :since")
        values["since"] = where.since
    if where.waiting:
        clauses.append(f"c.id IN ({WITH_WAITING})")
    if where.failed:
        clauses.append(f"c.id IN ({FAILED})")
    return " AND ".join(clauses), values


# Alone: to join each of all conversations with its thread and person before the page is known is most of the time.
CHOSEN = "SELECT c.id FROM conversations AS c"
NEWEST = "ORDER BY c.last_message_at DESC, c.id DESC LIMIT :limit"
THREADS_OF = """
    SELECT t.id FROM contacts AS p JOIN threads AS t ON t.contact_id = p.id WHERE instr(p.address, :address) > 0
"""
WITH_TEXT = "SELECT conversation_id FROM messages WHERE instr(body, :text) > 0 OR instr(description, :text) > 0"
HAS_TEXT = """
    SELECT 1 FROM messages WHERE conversation_id = :id AND (instr(body, :text) > 0 OR instr(description, :text) > 0)
"""
# What the index names is held against the message, and what it does not know yet is read.
INDEXED_WITH_TEXT = """
    SELECT m.conversation_id FROM json_each(:ids) AS hit CROSS JOIN messages AS m ON m.id = hit.value
    WHERE instr(m.body, :text) OR instr(m.description, :text)
    UNION SELECT conversation_id FROM messages
    WHERE id > :through AND (instr(body, :text) OR instr(description, :text))
"""
WITH_WAITING = "SELECT conversation_id FROM messages WHERE direction = 'in' AND outcome IS NULL"
FAILED = f"""
    SELECT conversation_id FROM outbox WHERE state = 'failed' AND coalesce(error_code, '') <> 'cancelled'
    UNION SELECT o.conversation_id FROM outbox AS o WHERE {rows.UNDELIVERED}
    UNION SELECT conversation_id FROM messages WHERE outcome = 'failed'
"""
