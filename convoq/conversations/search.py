"""Which conversations an operator asks for: from what is rare to its conversations, never through all that was said."""

from __future__ import annotations

from dataclasses import dataclass

from convoq.conversations import rows
from convoq.conversations.states import Owner, Status
from convoq.db.transaction import Transaction


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


def find(tx: Transaction, where: ConversationFilter, limit: int, before: tuple[int, int] | None) -> list[int]:
    """Ids, latest activity first; `before` is the (last_message_at, id) of the last one on the page before."""
    condition, values = _condition(where)
    if before is not None:
        condition += " AND (c.last_message_at, c.id) < (:at, :id)"
        values |= {"at": before[0], "id": before[1]}
    found = tx.execute(f"{CHOSEN} WHERE {condition} {NEWEST}", {**values, "limit": limit})
    return [conversation_id for (conversation_id,) in found]


def count(tx: Transaction, where: ConversationFilter) -> int:
    condition, values = _condition(where)
    return int(tx.execute(f"SELECT count(*) FROM conversations AS c WHERE {condition}", values).fetchone()[0])


def _condition(where: ConversationFilter) -> tuple[str, dict[str, object]]:
    clauses = ["1"]
    values: dict[str, object] = {}
    for column, wanted in (("status", where.statuses), ("owner", where.owners)):
        if wanted is not None:
            names = [f"{column}{index}" for index in range(len(wanted))]
            clauses.append(f"c.{column} IN ({', '.join(':' + name for name in names)})")
            values |= dict(zip(names, wanted, strict=True))
    if where.address is not None:
        clauses.append(f"c.thread_id IN ({THREADS_OF})")
        values["address"] = where.address
    if where.text is not None:
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
    SELECT t.id FROM contacts AS p JOIN threads AS t ON t.contact_id = p.id WHERE instr(p.address, :address)
"""
WITH_TEXT = "SELECT conversation_id FROM messages WHERE instr(body, :text) OR instr(description, :text)"
WITH_WAITING = "SELECT conversation_id FROM messages WHERE direction = 'in' AND outcome IS NULL"
FAILED = f"""
    SELECT conversation_id FROM outbox WHERE state = 'failed' AND error_code IS NOT 'cancelled'
    UNION SELECT o.conversation_id FROM outbox AS o WHERE {rows.UNDELIVERED}
    UNION SELECT conversation_id FROM messages WHERE outcome = 'failed'
"""
