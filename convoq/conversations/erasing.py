"""Erases a person: number, name, and all that was said; what must go on to hold is kept under a keyed hash.

Counts, times and costs stay, without anything that says whose they were. It begins with one transaction from which on
nothing goes out and nothing that is under way can write any more; the texts follow in small steps, each safe to repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from convoq.conversations.audit_trail import record_act
from convoq.conversations.erased import find_erased, make_erased_address
from convoq.conversations.states import CloseReason, Outcome
from convoq.conversations.stopping import Stop, conclude_waiting, stop_parts
from convoq.conversations.threads import take_token
from convoq.db.store import Store
from convoq.db.transaction import Transaction

ERASED: Final = Stop("cancelled", "erased", "the person was erased")


class Person(NamedTuple):
    """What the store has of a person, on all channels together."""

    contacts: tuple[int, ...]  #: also those whose erasure came to no end
    lanes: tuple[str, ...]  #: the ordering keys of their turns
    conversations: int
    messages: int
    under_way: int  #: parts whose request has begun: they may arrive

    @property
    def is_known(self) -> bool:
        return bool(self.contacts)


class Erasing:
    """Each method is one transaction, fsynced."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, channel: str, addresses: Sequence[str]) -> Person:
        """What there is of who has one of these addresses."""
        return await self._store.read(look, channel, addresses)

    async def wipe(self, contact_id: int, limit: int) -> int:
        """Takes out the next texts of who is being erased, at most `limit` rows; how many. 0: none is left."""
        return await self._store.write(wipe, contact_id, limit)

    async def finish(self, contacts: Sequence[int]) -> None:
        """Nothing of them is left."""
        await self._store.write(finish, contacts)

    async def unfinished(self) -> list[int]:
        """People whose erasure has begun and come to no end."""
        return await self._store.read(unfinished)

    async def forget_hashes(self, before: int, limit: int) -> int:
        """Of who was erased before that, and neither opted out nor is blocked; how many."""
        return await self._store.write(forget_hashes, before, limit)


def look(tx: Transaction, channel: str, addresses: Sequence[str]) -> Person:
    contacts = [row[0] for address in addresses for row in tx.execute(CONTACT, (channel, address)).fetchall()]
    left = [one for address in addresses if (one := _unfinished_of(tx, channel, address)) is not None]
    lanes = [lane for contact_id in contacts for (lane,) in tx.execute(LANES, (contact_id,)).fetchall()]
    counts = [tx.execute(COUNTS, {"contact": contact_id}).fetchone() for contact_id in contacts]
    conversations, messages, under_way = (sum(each) for each in zip((0, 0, 0), *counts, strict=True))
    return Person((*contacts, *left), tuple(lanes), conversations, messages, under_way)


def _unfinished_of(tx: Transaction, channel: str, address: str) -> int | None:
    erased = find_erased(tx, channel, address)
    if erased is None:
        return None
    (erasing,) = tx.execute("SELECT erasing FROM contacts WHERE id = ?", (erased.id,)).fetchone()
    return erased.id if erasing else None


def begin(
    tx: Transaction,
    channel: str,
    addresses: Sequence[str],
    name: str,
    now: int,
    through: int,
    *,
    way: str | None = None,
) -> list[int]:
    """From its commit on nothing more is said to the person, nothing that is under way is written down, and what was
    accepted up to `through` and comes late is not recorded, by whichever of the addresses. The ids of their rows, which
    say that it is not done until finish(): those that they had, and for an address that only jobs may name a new one.
    """
    erased: list[int] = []
    unknown: list[str] = []
    for address in addresses:
        found = tx.execute(CONTACT, (channel, address)).fetchone()
        if found is not None:
            _begin(tx, found[0], channel, address, now, through)
            record_act(tx, now, name, "erase", subject=f"contact:{found[0]}", way=way)
            erased.append(found[0])
        elif (left := _unfinished_of(tx, channel, address)) is not None:
            tx.execute("UPDATE contacts SET erased_at = ? WHERE id = ?", (through, left))
            erased.append(left)
        else:
            unknown.append(address)
    remembered = [_remember(tx, channel, address, through) for address in unknown]
    if remembered and not erased:
        record_act(tx, now, name, "erase", subject=f"contact:{remembered[0]}", way=way)
    return erased + remembered


def _begin(tx: Transaction, contact_id: int, channel: str, address: str, now: int, through: int) -> None:
    hidden = make_erased_address(tx, channel, address)
    # Who was erased before and came back: the older row has nothing to say any more.
    tx.execute("UPDATE contacts SET address = 'erased:' || id WHERE channel = ? AND address = ?", (channel, hidden))
    for thread_id, conversation_id, status in tx.execute(THREADS, (contact_id,)).fetchall():
        _stop(tx, thread_id, now)
        if conversation_id is not None and status != "closed":
            tx.execute(CLOSE, (CloseReason.ERASED, now, conversation_id))
    tx.execute(HIDE, (hidden, through, contact_id))
    tx.execute("UPDATE threads SET lane = 'erased:' || id WHERE contact_id = ?", (contact_id,))
    tx.execute(HIDE_ACTS, (f"contact:{contact_id}",))
    for table in ("idempotency_keys", "contact_facts"):
        tx.execute(f"DELETE FROM {table} WHERE contact_id = ?", (contact_id,))


def _stop(tx: Transaction, thread_id: int, now: int) -> None:
    take_token(tx, thread_id)
    conclude_waiting(tx, thread_id, Outcome.CANCELLED)
    stop_parts(tx, thread_id, ERASED, now)
    tx.execute("DELETE FROM ai_pauses WHERE scope = ?", (f"thread:{thread_id}",))


def _remember(tx: Transaction, channel: str, address: str, through: int) -> int:
    """No contact has the address, but jobs may name it: its row tells what comes late, and that it is not done yet."""
    hidden = make_erased_address(tx, channel, address)
    (contact_id,) = tx.execute(REMEMBER, (channel, hidden, through, through, through)).fetchone()
    return int(contact_id)


def wipe(tx: Transaction, contact_id: int, limit: int) -> int:
    done = 0
    for (conversation_id,) in tx.execute(CONVERSATIONS, (contact_id,)).fetchall():
        done += _wipe_conversation(tx, conversation_id, limit - done)
        if done >= limit:
            break
    return done


def _wipe_conversation(tx: Transaction, conversation_id: int, limit: int) -> int:
    ids = [(row[0],) for row in tx.execute(UNWIPED, (conversation_id, limit)).fetchall()]
    # Newest first: a second send refers to the first.
    parts = [part for one in ids for part in tx.execute(PARTS, one).fetchall()]
    tx.executemany("DELETE FROM outbox WHERE id = ?", parts)
    for one in ids:
        tx.execute(WIPE_MESSAGE, one)
    done = len(ids)
    for statement in WIPE_BESIDE:
        if done < limit:
            done += tx.execute(statement, (conversation_id, limit - done)).rowcount
    return done


def finish(tx: Transaction, contacts: Sequence[int]) -> None:
    tx.executemany("UPDATE contacts SET erasing = 0 WHERE id = ?", [(contact_id,) for contact_id in contacts])


def unfinished(tx: Transaction) -> list[int]:
    return [contact_id for (contact_id,) in tx.execute("SELECT id FROM contacts WHERE erasing = 1").fetchall()]


def forget_hashes(tx: Transaction, before: int, limit: int) -> int:
    return tx.execute(FORGET_HASHES, (before, limit)).rowcount


CONTACT: Final = "SELECT id FROM contacts WHERE channel = ? AND address = ?"
LANES: Final = "SELECT lane FROM threads WHERE contact_id = ?"
COUNTS: Final = """
    SELECT count(DISTINCT c.id), count(m.id),
        (SELECT count(*) FROM outbox AS o JOIN threads AS t ON t.id = +o.thread_id
         WHERE o.state IN ('ready', 'sending', 'ambiguous') AND o.state <> 'ready' AND t.contact_id = :contact)
    FROM threads AS t JOIN conversations AS c ON c.thread_id = t.id LEFT JOIN messages AS m ON m.conversation_id = c.id
    WHERE t.contact_id = :contact
"""
THREADS: Final = """
    SELECT t.id, c.id, c.status FROM threads AS t
    LEFT JOIN conversations AS c ON c.thread_id = t.id AND c.status <> 'closed'
    WHERE t.contact_id = ?
"""
CLOSE: Final = """
    UPDATE conversations SET status = 'closed', closed_reason = ?, closed_at = ?, owner = 'nobody',
        owner_version = owner_version + 1
    WHERE id = ?
"""
HIDE: Final = "UPDATE contacts SET address = ?, name = NULL, named_by = NULL, erased_at = ?, erasing = 1 WHERE id = ?"
# Who acted when, and what it was, stays: nothing of what was written about the person.
HIDE_ACTS: Final = "UPDATE audit SET detail = NULL WHERE subject = ? AND detail IS NOT NULL"
REMEMBER: Final = """
    INSERT INTO contacts (channel, address, first_seen_at, last_seen_at, erased_at, erasing) VALUES (?, ?, ?, ?, ?, 1)
    ON CONFLICT (channel, address) DO UPDATE SET erased_at = excluded.erased_at, erasing = 1
    RETURNING id
"""
CONVERSATIONS: Final = """
    SELECT c.id FROM threads AS t JOIN conversations AS c ON c.thread_id = t.id WHERE t.contact_id = ? ORDER BY c.id
"""
UNWIPED: Final = """
    SELECT id FROM messages WHERE conversation_id = ? AND source NOT LIKE 'erased:%' ORDER BY id LIMIT ?
"""
PARTS: Final = "SELECT id FROM outbox WHERE message_id = ? ORDER BY id DESC"
WIPE_MESSAGE: Final = """
    UPDATE messages SET body = '', description = '', media = '[]', source = 'erased:' || id, job_id = NULL,
        reason = NULL, ended_by = NULL, outcome = CASE outcome WHEN 'failed' THEN 'cancelled' ELSE outcome END
    WHERE id = ?
"""


def _some(table: str, condition: str = "conversation_id = ?") -> str:
    return f"IN (SELECT id FROM {table} WHERE {condition} ORDER BY id LIMIT ?)"


WIPE_BESIDE: Final = (
    f"DELETE FROM drafts WHERE id {_some('drafts')}",
    f"DELETE FROM operator_notes WHERE id {_some('operator_notes')}",
    f"DELETE FROM notifications WHERE id {_some('notifications')}",
    "DELETE FROM alarms WHERE cause IN (SELECT cause FROM alarms WHERE conversation_id = ? LIMIT ?)",
    f"DELETE FROM transitions WHERE id {_some('transitions')}",
    f"UPDATE model_calls SET error = NULL WHERE id {_some('model_calls', 'conversation_id = ? AND error IS NOT NULL')}",
    f"UPDATE audit SET detail = NULL WHERE id {_some('audit', 'conversation_id = ? AND detail IS NOT NULL')}",
)
FORGET_HASHES: Final = """
    UPDATE contacts SET address = 'erased:' || id, erased_at = NULL WHERE id IN (
        SELECT id FROM contacts WHERE erased_at IS NOT NULL AND erased_at < ? AND erasing = 0
            AND opted_out_at IS NULL AND blocked_at IS NULL
        ORDER BY erased_at LIMIT ?)
"""
