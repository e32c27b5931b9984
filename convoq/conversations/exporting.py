"""Everything that the store has of a person, as one document: docs/privacy.md has its schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from convoq.conversations.audit_trail import record_act
from convoq.conversations.disclosure import is_disclosed
from convoq.db.transaction import Transaction
from convoq.text import iso_time

Document = dict[str, Any]


def export(tx: Transaction, channel: str, addresses: Sequence[str]) -> list[Document]:
    """One document for each of the addresses that is known; of one moment when it is read in one transaction."""
    found = [_rows(tx, CONTACT, channel, address) for address in addresses]
    return [_contact(tx, contact) for contacts in found for contact in contacts]


def record_export(tx: Transaction, contacts: Sequence[int], name: str, now: int, *, way: str | None = None) -> None:
    for contact_id in contacts:
        record_act(tx, now, name, "export", subject=f"contact:{contact_id}", way=way)


def _contact(tx: Transaction, contact: Document) -> Document:
    conversations = _rows(tx, CONVERSATIONS, contact["id"])
    return {
        **contact,
        "disclosed_at": contact["disclosed_at"] if is_disclosed(tx, contact["id"]) else None,
        "facts": _rows(tx, FACTS, contact["id"]),
        "conversations": [_conversation(tx, one) for one in conversations],
        "acts": _rows(tx, ACTS, f"contact:{contact['id']}"),
    }


def _conversation(tx: Transaction, conversation: Document) -> Document:
    conversation_id = conversation["id"]
    return {
        **conversation,
        "messages": [_message(tx, one) for one in _rows(tx, MESSAGES, conversation_id)],
        **{name: _rows(tx, statement, conversation_id) for name, statement in OF_CONVERSATION.items()},
    }


def _message(tx: Transaction, message: Document) -> Document:
    parts = _rows(tx, PARTS, message["id"]) if message["direction"] == "out" else []
    return {**message, "media": json.loads(message["media"]), "parts": parts}


def _rows(tx: Transaction, statement: str, *values: object) -> list[Document]:
    """By column; times as programs read them."""
    columns = [
        column.rpartition(" AS ")[2] for column in statement.split("FROM", 1)[0].split("SELECT", 1)[1].split(",")
    ]
    names = [column.strip().rpartition(".")[2] for column in columns]
    return [
        {name: iso_time(value) if name.endswith("_at") else value for name, value in zip(names, row, strict=True)}
        for row in tx.execute(statement, values).fetchall()
    ]


CONTACT: Final = """
    SELECT id, channel, address, name, first_seen_at, last_seen_at, opted_out_at, opted_in_at, blocked_at, disclosed_at
    FROM contacts WHERE channel = ? AND address = ?
"""
CONVERSATIONS: Final = """
    SELECT c.id, t.our_address, c.status, c.closed_reason, c.owner, c.owner_name, c.handed_reason, c.opened_at,
        c.last_message_at, c.closed_at
    FROM threads AS t JOIN conversations AS c ON c.thread_id = t.id WHERE t.contact_id = ? ORDER BY c.id
"""
MESSAGES: Final = """
    SELECT id, direction, author, written_by, source AS reference, body AS text, description, media,
        wall_at AS written_at, outcome, reason, answered_by
    FROM messages WHERE conversation_id = ? ORDER BY id
"""
PARTS: Final = """
    SELECT part, body AS text, state, provider_id, attempted_wall AS sent_at, error_code, error, delivery, delivery_at
    FROM outbox WHERE message_id = ? ORDER BY id
"""
FACTS: Final = "SELECT who, text, at AS written_at FROM contact_facts WHERE contact_id = ? ORDER BY id"
ACTS: Final = "SELECT at AS done_at, who, act, detail FROM audit WHERE subject = ? ORDER BY id"
OF_CONVERSATION: Final = {
    "drafts": """
        SELECT state, text, model, created_at FROM drafts WHERE conversation_id = ? ORDER BY id
    """,
    "notes": """
        SELECT who, text, wall_at AS written_at FROM operator_notes WHERE conversation_id = ? ORDER BY id
    """,
    "changes": """
        SELECT at AS done_at, who, reason, owner_before, owner_after, status_before, status_after
        FROM transitions WHERE conversation_id = ? ORDER BY id
    """,
    "model_calls": """
        SELECT at AS asked_at, model, outcome, input_tokens, output_tokens, cost, currency, error
        FROM model_calls WHERE conversation_id = ? ORDER BY id
    """,
    "acts": "SELECT at AS done_at, who, act, detail FROM audit WHERE conversation_id = ? ORDER BY id",
    "notifications": """
        SELECT at AS arisen_at, event, target, state, facts FROM notifications WHERE conversation_id = ? ORDER BY id
    """,
}
