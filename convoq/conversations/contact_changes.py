"""What a person of ours changes of a contact: the name, what is written down, and whether there is an answer at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from convoq.conversations import blocking
from convoq.conversations.erased import is_being_erased
from convoq.conversations.ownership import ActRefused
from convoq.conversations.persons import contacts_of_person, read_facts
from convoq.db.transaction import Transaction
from convoq.prose import sendable

MOST_FACTS: Final = 20
LONGEST_FACT: Final = 200  #: characters; the model reads all of them in each turn
LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactChange:
    """What is None stays as it is."""

    blocked: bool | None = None
    reason: str | None = None  #: of a block, for colleagues
    name: str | None = None  #: "": the person's own again, with their next message
    facts: Sequence[str] | None = None  #: all of them


def change_contact(tx: Transaction, contact_id: int, change: ContactChange, who: str, now: int) -> list[str]:
    """All of it or nothing, for all addresses of the person; the names of what was done. Raises ActRefused."""
    if is_being_erased(tx, contact_id):
        raise ActRefused("erased", "the person was erased: nothing is kept of them any more")
    done: list[str] = []
    if change.name is not None:
        _set_name(tx, contact_id, change.name, who)
        done.append("name_contact")
    if change.facts is not None and _set_facts(tx, contact_id, change.facts, who, now):
        done.append("set_facts")
    if change.blocked is not None:
        verb = blocking.block if change.blocked else blocking.unblock
        args = (change.reason,) if change.blocked else ()
        verb(tx, contact_id, who, now, *args)
        done.append("block" if change.blocked else "unblock")
    if not done:
        raise ActRefused("unchanged", "the contact is so already")
    return done


def _set_name(tx: Transaction, contact_id: int, name: str, who: str) -> None:
    cleaned = _line(name, LONGEST_NAME, "the name")
    for one in contacts_of_person(tx, contact_id):
        tx.execute(SET_NAME, (cleaned or None, who if cleaned else None, one))


def _set_facts(tx: Transaction, contact_id: int, texts: Sequence[str], who: str, now: int) -> bool:
    """What is there already keeps who wrote it, and when."""
    wanted = list(dict.fromkeys(_facts(texts)))
    known = read_facts(tx, contact_id)
    for fact in known:
        if fact.text not in wanted:
            tx.execute("DELETE FROM contact_facts WHERE id = ?", (fact.id,))
    new = [text for text in wanted if text not in {fact.text for fact in known}]
    tx.executemany(ADD_FACT, [(contact_id, now, who, text) for text in new])
    return bool(new) or len(known) > len(wanted)


def _facts(texts: Sequence[str]) -> Iterator[str]:
    if len(texts) > MOST_FACTS:
        raise ActRefused("text", f"{len(texts)} facts: at most {MOST_FACTS} can be kept of a person")
    for text in texts:
        if not (cleaned := _line(text, LONGEST_FACT, "a fact")):
            raise ActRefused("text", "a fact is empty, or holds nothing that can be seen")
        yield cleaned


def _line(text: str, most: int, what: str) -> str:
    cleaned = " ".join(sendable(text).split())
    if len(cleaned) > most:
        raise ActRefused("text", f"{what} has {len(cleaned)} characters; at most {most} are kept")
    return cleaned


SET_NAME: Final = "UPDATE contacts SET name = ?, named_by = ? WHERE id = ?"
ADD_FACT: Final = "INSERT INTO contact_facts (contact_id, at, who, text) VALUES (?, ?, ?, ?)"
