"""The JSON documents of what people of ours do, as convoq.monitoring.documents has those of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convoq.monitoring.documents import conversation_document, part_document
from convoq.text import iso_time

if TYPE_CHECKING:
    from convoq.conversations.audit_trail import AuditEntry
    from convoq.conversations.operators import Written
    from convoq.conversations.ownership import Change
    from convoq.conversations.pausing import AiPause
    from convoq.conversations.records import Contact, Conversation
    from convoq.conversations.resending import Resent


def resent_document(message_id: int, resent: Sequence[Resent]) -> dict[str, Any]:
    """Its parts are shown as they were before; `number` is what people are told, whichever send of the part it is."""
    parts = [
        {"number": one.number, "action": str(one.action), "reason": one.reason, **part_document(one.part)}
        for one in resent
    ]
    return {"message_id": message_id, "conversation_id": resent[0].part.conversation_id, "parts": parts}


def change_document(change: Change) -> dict[str, Any]:
    return {
        "conversation": conversation_document(change.conversation, full=True),
        "owner_before": str(change.before),
        "unsent_parts": change.unsent,
        "parts_under_way": change.under_way,
        "returned_messages": change.returned,
    }


def written_document(written: Written) -> dict[str, Any]:
    return {
        "message_id": written.message_id,
        "new": written.is_new,
        "answers": written.answers,
        **change_document(written.change),
    }


def contact_document(contact: Contact, conversations: Sequence[Conversation]) -> dict[str, Any]:
    return {
        "contact": {
            "id": contact.id,
            "channel": contact.channel,
            "address": contact.address,
            "name": contact.name,
            "opted_out_at": iso_time(contact.opted_out_at),
            "blocked_at": iso_time(contact.blocked_at),
        },
        "conversations": [conversation_document(one, full=True) for one in conversations],
    }


def pauses_document(pauses: Sequence[AiPause]) -> list[dict[str, Any]]:
    return [
        {"scope": one.scope, "paused_at": iso_time(one.paused_at), "who": one.who, "reason": one.reason}
        for one in pauses
    ]


def audit_trail_document(entries: Sequence[AuditEntry], *, more: bool) -> dict[str, Any]:
    """One page; `more` if there is another."""
    return {
        "acts": [{**entry._asdict(), "at": iso_time(entry.at)} for entry in entries],
        "next_before": entries[-1].id if more else None,
    }
