"""What people of ours write: to the customer, in whose chat they then are, or for each other."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.lifecycle import open_conversation, touch
from convoq.conversations.outbox import add_outgoing
from convoq.conversations.ownership import ActRefused, Change, note_act, require_mine, require_reachable, take_over
from convoq.conversations.records import Conversation
from convoq.conversations.rules import may_send
from convoq.conversations.states import Owner, Status
from convoq.conversations.templates import TemplateRequest, Wording, what_may_be_sent, word
from convoq.conversations.threads import join_thread, upsert_contact
from convoq.db.transaction import Transaction
from convoq.errors import ConvoqError
from convoq.prose import sendable

LONGEST_TEXT: Final = 4000  #: characters of a message or a note: what a person reads on a phone
LONGEST_NAME: Final = 40
#: Who else changes a conversation: none of ours may pass for them.
TAKEN_NAMES: Final = frozenset(
    {"ai", "contact", "system", "upkeep", "operator", "convoq", "nobody", "waiting", "human"}
)


class Written(NamedTuple):
    """A message of ours to a customer, on record and ready to be sent."""

    message_id: int
    change: Change
    answers: int  #: messages that waited for it
    is_new: bool = True


def operator_name(given: str) -> str:
    """The name that a person of ours goes by. Raises ConvoqError for what cannot be one."""
    name = " ".join(sendable(given).split())
    if not name or not name.isprintable():
        raise ConvoqError("a name needs something to see")
    if len(name) > LONGEST_NAME:
        raise ConvoqError(f"a name has at most {LONGEST_NAME} characters, not {len(name)}")
    if name.casefold() in TAKEN_NAMES:
        raise ConvoqError(f'"{name}" cannot be the name of a person: convoq writes that itself')
    return name


def checked_text(text: str) -> str:
    """The text as it may be sent. Raises ActRefused."""
    if len(text) > LONGEST_TEXT:
        raise ActRefused("text", f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} can be sent at once")
    if not (cleaned := sendable(text)):
        raise ActRefused("text", "the text is empty, or holds nothing that can be seen")
    return cleaned


def reply(
    tx: Transaction, conversation_id: int, said: str | TemplateRequest, name: str, key: str, now: int, wall_now: int,
    *, force: bool = False,
) -> Written:  # fmt: skip
    """Takes over, unless the chat is this person's already, and answers what waited. Raises ActRefused, LookupError.

    A closed conversation goes on in a new one. `key` makes repeating it harmless.
    """
    if (known := _known(tx, key)) is not None:
        return known
    conversation = rows.conversation(tx, conversation_id)
    wording = word(tx, said, conversation.contact.address)
    if conversation.status is not Status.ACTIVE:
        require_sendable(tx, conversation, wording, now, wall_now)
        newest = open_conversation(tx, conversation.thread_id, now, now, who=name)
        conversation = rows.conversation(tx, newest)
    require_mine(conversation, name, force=force)
    require_sendable(tx, conversation, wording, now, wall_now)
    change = take_over(tx, conversation.id, name, now, force=force)
    message_id = add_outgoing(
        tx, conversation.thread_id, conversation.id, "operator", _source(key), wording.text, [wording.text], now,
        wall_now, written_by=name, template=wording.template,
    )  # fmt: skip
    touch(tx, conversation.id, now)
    answers = tx.execute(ANSWER, (message_id, conversation.id)).rowcount
    return Written(message_id, change, answers)


def write_to(
    tx: Transaction, channel: str, our_address: str, address: str, said: str | TemplateRequest, name: str, key: str,
    now: int, wall_now: int, *, force: bool = False,
) -> Written:  # fmt: skip
    """As reply(), to a person who may never have written. Raises ActRefused."""
    if (known := _known(tx, key)) is not None:
        return known
    contact_id = upsert_contact(tx, channel, address, None, now)
    thread = join_thread(tx, contact_id, channel, our_address, address)
    conversation_id = open_conversation(tx, thread.id, now, now, who=name)
    return reply(tx, conversation_id, said, name, key, now, wall_now, force=force)


def add_note(tx: Transaction, conversation_id: int, text: str, name: str, now: int, wall_now: int) -> int:
    """For people of ours alone, in a conversation that may be over; its id. Raises LookupError."""
    conversation = rows.conversation(tx, conversation_id)
    (note_id,) = tx.execute(NOTE, (conversation_id, now, wall_now, name, text)).fetchone()
    if conversation.owner is Owner.HUMAN and conversation.owner_name == name:
        note_act(tx, conversation_id, now)
    return int(note_id)


def require_sendable(tx: Transaction, conversation: Conversation, wording: Wording, now: int, wall_now: int) -> None:
    """Raises ActRefused where the channel or the person does not take it."""
    require_reachable(conversation)
    refusal = may_send(
        conversation, author="operator", committed_at=now, now=now, wall_now=wall_now,
        is_template=wording.template is not None,
    )  # fmt: skip
    if refusal is not None and refusal.code == "window":
        raise ActRefused(refusal.code, f"{refusal.reason} ({what_may_be_sent(tx)})")
    if refusal is not None:
        raise ActRefused(refusal.code, refusal.reason)


def _known(tx: Transaction, key: str) -> Written | None:
    found = tx.execute("SELECT id, conversation_id FROM messages WHERE source = ?", (_source(key),)).fetchone()
    if found is None:
        return None
    conversation = rows.conversation(tx, found[1])
    return Written(found[0], Change(conversation, conversation.owner), 0, is_new=False)


def _source(key: str) -> str:
    return f"operator:{key}"


ANSWER: Final = f"UPDATE messages SET answered_by = ? WHERE conversation_id = ? AND {rows.FOR_PERSON}"
NOTE: Final = "INSERT INTO operator_notes (conversation_id, at, wall_at, who, text) VALUES (?, ?, ?, ?, ?) RETURNING id"
