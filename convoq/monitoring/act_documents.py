"""The JSON documents of what people of ours do, as convoq.monitoring.documents has those of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convoq.monitoring.documents import conversation_document, part_document
from convoq.text import iso_time, masked

if TYPE_CHECKING:
    from convoq.conversations.access import AccessToken
    from convoq.conversations.audit_trail import AuditEntry
    from convoq.conversations.erasures import Asked
    from convoq.conversations.operator_list import Operator
    from convoq.conversations.operators import Written
    from convoq.conversations.ownership import ActRefused, Change
    from convoq.conversations.pausing import AiPause
    from convoq.conversations.persons import PersonOnRecord
    from convoq.conversations.records import Contact
    from convoq.conversations.resending import Resent
    from convoq.conversations.sessions import Session
    from convoq.handlers.erasing import Erased


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


def note_document(conversation_id: int, note_id: int) -> dict[str, Any]:
    return {"conversation_id": conversation_id, "note_id": note_id}


def erased_document(erased: Erased, *, dry_run: bool) -> dict[str, Any]:
    """Without the number, so that it can be kept."""
    person = erased.traces.person
    return {
        "dry_run": dry_run,
        "contacts": len(person.contacts),
        "conversations": person.conversations,
        "messages": person.messages,
        "jobs": len(erased.traces.jobs) if dry_run else erased.jobs,
        "parts_under_way": person.under_way,
        "files_left": list(erased.left),
    }


def erasing_document(asked: Asked) -> dict[str, Any]:
    return {
        "contacts": list(asked.contacts), "conversations": asked.person.conversations,
        "messages": asked.person.messages, "parts_under_way": asked.person.under_way,
    }  # fmt: skip


def person_document(person: PersonOnRecord) -> dict[str, Any]:
    """`others`: the same number on another channel."""
    from convoq.conversations.erased import is_erased

    return {
        "contact": _contact(person.contact),
        "others": [_contact(other) for other in person.others],
        "facts": [{**fact._asdict(), "at": iso_time(fact.at)} for fact in person.facts],
        "erased": is_erased(person.contact.address),
        "erasing": person.erasing,
        "conversations": [conversation_document(one, full=True) for one in person.conversations],
    }


def _contact(contact: Contact) -> dict[str, Any]:
    return {
        "id": contact.id,
        "channel": contact.channel,
        "address": contact.address,
        "name": contact.name,
        "opted_out_at": iso_time(contact.opted_out_at),
        "blocked_at": iso_time(contact.blocked_at),
    }


def pauses_document(pauses: Sequence[AiPause]) -> list[dict[str, Any]]:
    return [
        {"scope": one.scope, "paused_at": iso_time(one.paused_at), "who": one.who, "reason": one.reason}
        for one in pauses
    ]


def operators_document(operators: Sequence[Operator]) -> dict[str, Any]:
    return {
        "operators": [
            {
                "name": one.name, "added_at": iso_time(one.added_at), "added_by": one.added_by,
                "removed_at": iso_time(one.removed_at), "removed_by": one.removed_by,
                "phone": one.phone, "alerts": bool(one.alerts),
            }
            for one in operators
        ]
    }  # fmt: skip


def token_document(token: AccessToken) -> dict[str, Any]:
    """Without the token itself, which is nowhere."""
    return {
        "id": token.id, "operator": token.operator, "role": str(token.role), "made_at": iso_time(token.made_at),
        "made_by": token.made_by, "used_at": iso_time(token.used_at), "revoked_at": iso_time(token.revoked_at),
        "revoked_by": token.revoked_by,
    }  # fmt: skip


def session_document(session: Session) -> dict[str, Any]:
    """Without its secret, which only the browser has."""
    return {
        **session._asdict(), "role": str(session.role), "made_at": iso_time(session.made_at),
        "seen_at": iso_time(session.seen_at), "ended_at": iso_time(session.ended_at),
    }  # fmt: skip


def audit_trail_document(entries: Sequence[AuditEntry], *, more: bool, full: bool) -> dict[str, Any]:
    """One page; `more` if there is another. Addresses are masked unless `full`."""
    return {
        "acts": [
            {**entry._asdict(), "at": iso_time(entry.at)}
            | ({} if full else {name: _masked(getattr(entry, name)) for name in ("subject", "detail")})
            for entry in entries
        ],
        "next_before": entries[-1].id if more else None,
    }


def _masked(text: str | None) -> str | None:
    return None if text is None else masked(text)


def refusal_document(refused: ActRefused) -> dict[str, Any]:
    """`refused` is a word for programs; nothing was done."""
    return {"refused": refused.code, "reason": str(refused)}
