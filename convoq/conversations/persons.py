"""A person is who has one phone number: by WhatsApp and by SMS, one contact each.

What bounds or stops a person holds for all of their contacts. An opt-out is of one channel: Twilio keeps it for each by
itself, and a START on one takes nothing back on the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.records import Contact, Conversation
from convoq.db.transaction import Transaction


class ContactFact(NamedTuple):
    """What a person of ours has written down of a person, for the AI and for the others."""

    id: int
    at: int
    who: str
    text: str


class PersonOnRecord(NamedTuple):
    """One contact, the others with the same number, what is written down of them, and the newest conversations."""

    contact: Contact
    others: tuple[Contact, ...]
    conversations: list[Conversation]
    facts: tuple[ContactFact, ...] = ()
    erasing: bool = False  #: the person was erased, and something of them may still be there


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
    (erasing,) = tx.execute("SELECT erasing FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    facts = tuple(read_facts(tx, contact_id))
    return PersonOnRecord(contacts[contact_id], others, conversations, facts, bool(erasing))


def read_facts(tx: Transaction, contact_id: int) -> list[ContactFact]:
    """Of the person, the oldest first."""
    return [ContactFact(*row) for row in tx.execute(FACTS, (contact_id,)).fetchall()]


FACTS: Final = f"SELECT id, at, who, text FROM contact_facts WHERE contact_id IN ({OF_PERSON}) ORDER BY id"
# +c.id: from the person to their few conversations, not through all of them from the newest.
NEWEST: Final = "ORDER BY +c.id DESC LIMIT ?"
