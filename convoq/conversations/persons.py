"""A person is who has one phone number: by WhatsApp and by SMS, one contact each.

What bounds or stops a person holds for all of their contacts. An opt-out is of one channel: Twilio keeps it for each by
itself, and a START on one takes nothing back on the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.records import Contact, Conversation
from convoq.db.transaction import Transaction


class PersonOnRecord(NamedTuple):
    """One contact, the others with the same number, and the newest conversations with any of them."""

    contact: Contact
    others: tuple[Contact, ...]
    conversations: list[Conversation]


#: A contact without a number (a WhatsApp user who hides it, another channel's, one that was erased) is a person alone.
OF_PERSON: Final = """
    SELECT q.id FROM contacts AS p JOIN contacts AS q ON q.channel = p.channel AND q.address IN (
        replace(p.address, 'whatsapp:+', '+'), 'whatsapp:' || replace(p.address, 'whatsapp:+', '+'))
    WHERE p.id = ?
"""


def contacts_of_person(tx: Transaction, contact_id: int) -> list[int]:
    """Those with the contact's number, itself among them, the oldest first."""
    return [row[0] for row in tx.execute(f"{OF_PERSON} ORDER BY q.id", (contact_id,)).fetchall()]


def person_of(tx: Transaction, contact_id: int) -> int:
    """What the person is known by: the oldest contact."""
    return contacts_of_person(tx, contact_id)[0]


def read_person(tx: Transaction, contact_id: int, limit: int) -> PersonOnRecord | None:
    """None: there is no conversation with who has this contact."""
    contacts = {one: rows.contact(tx, one) for one in contacts_of_person(tx, contact_id)}
    found = tx.execute(f"{rows.CONVERSATION} WHERE t.contact_id IN ({OF_PERSON}) {NEWEST}", (contact_id, limit))
    conversations = [rows.to_conversation(row) for row in found]
    if not conversations:
        return None
    others = tuple(contact for one, contact in contacts.items() if one != contact_id)
    return PersonOnRecord(contacts[contact_id], others, conversations)


# +c.id: from the person to their few conversations, not through all of them from the newest.
NEWEST: Final = "ORDER BY +c.id DESC LIMIT ?"
