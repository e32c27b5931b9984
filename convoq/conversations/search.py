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
    owner_name: str | None = None  #: the operator that has it
    our_address: str | None = None  #: over this number of ours
    address: str | None = None  #: somewhere in the person's address
    text: str | None = None  #: somewhere in a message
    in_name: bool = False  #: `text` may also stand in the person's name, whatever its case
    since: int | None = None  #: with a message then or later: ms on the queue's clock
    waiting: bool = False  #: a message waits for its answer
    failed: bool = False  #: a message was never answered, or a part of ours not sent or not delivered
    longest_first: bool = False  #: who has waited longest comes first, instead of the latest activity


def find(
    tx: Transaction, where: ConversationFilter, limit: int, before: tuple[int, int] | None, indexed: bool
) -> list[int]:
    """Ids, latest activity first; `before` is the (last_message_at, id) of the last one on the page before, or with
    `longest_first` its (waiting_since, id).

    `indexed`: the database has the index of texts.
    """
    holding = _conversations_with(tx, where.text) if indexed and where.text is not None else None
    if where.text is not None and holding is None:
        for walked in (WALKED // 8, WALKED):
            page = _walk(tx, where, limit, before, walked)
            if page is not None:
                return page
    return _page(tx, where, holding, limit, before)


def count(tx: Transaction, where: ConversationFilter, indexed: bool, most: int) -> int:
    """At most `most`."""
    holding = _conversations_with(tx, where.text) if indexed and where.text is not None else None
    condition, values = _condition(where, holding)
    counting = f"SELECT count(*) FROM ({CHOSEN} WHERE {condition} LIMIT :most) AS found"
    return int(tx.execute(counting, {**values, "most": most}).fetchone()[0])


def _page(
    tx: Transaction, where: ConversationFilter, holding: Sequence[int] | None, limit: int,
    before: tuple[int, int] | None,
) -> list[int]:  # fmt: skip
    condition, values = _condition(where, holding)
    if before is not None:
        condition += f" AND {LONGER if where.longest_first else OLDER}"
        values |= {"at": before[0], "id": before[1]}
    order = LONGEST if where.longest_first else NEWEST
    found = tx.execute(f"{CHOSEN} WHERE {condition} {order}", {**values, "limit": limit})
    return [conversation_id for (conversation_id,) in found]


def waiting_since(tx: Transaction, conversation_id: int) -> int | None:
    """When the oldest message of the person came that nobody has answered: the AI, or whoever of ours is to."""
    found = tx.execute(f"SELECT {WAITING_SINCE} FROM conversations AS c WHERE c.id = ?", (conversation_id,)).fetchone()
    return None if found is None else found[0]


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
    newest = _page(tx, replace(where, text=None), None, walked, before)
    has_text = f"{HAS_TEXT} UNION ALL {HAS_NAME}" if where.in_name else HAS_TEXT
    page: list[int] = []
    for conversation_id in newest:
        if len(page) == limit:
            break
        if tx.execute(has_text, {"id": conversation_id, **_words(where)}).fetchone() is not None:
            page.append(conversation_id)
    return page if len(page) == limit or len(newest) < walked else None


def _condition(where: ConversationFilter, holding: Sequence[int] | None) -> tuple[str, dict[str, object]]:
    """`holding`: where it is known which conversations hold the text."""
    clauses = ["true"]
    values: dict[str, object] = {}
    for column, wanted in (("status", where.statuses), ("owner", where.owners)):
        if wanted is not None:
            names = [f"{column}{index}" for index in range(len(wanted))]
            clauses.append(f"c.{column} IN ({', '.join(':' + name for name in names)})" if wanted else "false")
            values |= dict(zip(names, wanted, strict=True))
    if where.owner_name is not None:
        clauses.append("c.owner = 'human' AND c.owner_name = :owner_name")
        values["owner_name"] = where.owner_name
    if where.our_address is not None:
        clauses.append("EXISTS (SELECT 1 FROM threads AS t WHERE t.id = c.thread_id AND t.our_address = :ours)")
        values["ours"] = where.our_address
    if where.address is not None:
        clauses.append(f"c.thread_id IN ({THREADS_OF})")
        values["address"] = where.address
    if holding is not None or where.text is not None:
        said = f"c.id IN ({WITH_TEXT if holding is None else 'SELECT value FROM json_each(:holding)'})"
        clauses.append(f"({said} OR c.thread_id IN ({THREADS_NAMED}))" if where.in_name else said)
        values |= _words(where) if holding is None or where.in_name else {}
        values |= {} if holding is None else {"holding": json.dumps(holding)}
    if where.since is not None:
        clauses.append("c.last_message_at >= :since")
        values["since"] = where.since
    if where.waiting:
        clauses.append(f"c.id IN ({WITH_WAITING})")
    if where.failed:
        clauses.append(f"c.id IN ({FAILED})")
    return " AND ".join(clauses), values


def _words(where: ConversationFilter) -> dict[str, object]:
    return {"text": where.text, **({"lower": (where.text or "").lower()} if where.in_name else {})}


# Alone: to join each of all conversations with its thread and person before the page is known is most of the time.
CHOSEN = "SELECT c.id FROM conversations AS c"
NEWEST = "ORDER BY c.last_message_at DESC, c.id DESC LIMIT :limit"
OLDER = "(c.last_message_at, c.id) < (:at, :id)"
# Of what the AI is to answer, and of what somebody of ours is: each in the words of its index.
WAITING_SINCE = f"""
    CASE WHEN c.status = 'closed' OR c.owner = 'nobody' THEN NULL
    WHEN c.owner = 'ai' THEN (SELECT min(m.at) FROM messages AS m
                    WHERE m.thread_id = c.thread_id AND {rows.WAITS} AND m.conversation_id = c.id)
    ELSE (SELECT min(at) FROM messages WHERE conversation_id = c.id AND {rows.FOR_PERSON}) END
"""
WAITED = f"coalesce({WAITING_SINCE}, c.owner_at, c.last_message_at)"
LONGEST = f"ORDER BY {WAITED}, c.id LIMIT :limit"
LONGER = f"({WAITED}, c.id) > (:at, :id)"
THREADS_OF = """
    SELECT t.id FROM contacts AS p JOIN threads AS t ON t.contact_id = p.id WHERE instr(p.address, :address) > 0
"""
WITH_TEXT = "SELECT conversation_id FROM messages WHERE instr(body, :text) > 0 OR instr(description, :text) > 0"
HAS_TEXT = """
    SELECT 1 FROM messages WHERE conversation_id = :id AND (instr(body, :text) > 0 OR instr(description, :text) > 0)
"""
# `lower` knows the letters of ASCII alone: of any other the case must be right.
NAMED = "(instr(lower(p.name), :lower) > 0 OR instr(p.name, :text) > 0)"
THREADS_NAMED = f"SELECT t.id FROM contacts AS p JOIN threads AS t ON t.contact_id = p.id WHERE {NAMED}"
HAS_NAME = f"""
    SELECT 1 FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id
    JOIN contacts AS p ON p.id = t.contact_id WHERE c.id = :id AND {NAMED}
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
