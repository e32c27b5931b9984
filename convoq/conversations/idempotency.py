"""Acts that a program may repeat when it did not hear what came of them: each is done once, and answered the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from convoq.clock import DAY_MS
from convoq.conversations.access import require_valid
from convoq.conversations.ownership import ActRefused
from convoq.db.store import Store
from convoq.db.transaction import Transaction

KEPT_MS: Final = DAY_MS

Answered = Mapping[str, Any]


class Repeated(Exception):
    """The request has come before; nothing is done."""

    def __init__(self, answer: Answered) -> None:
        super().__init__("the request has come before")
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Stands around the act of one request, in its transaction: an Errand.

    The token is still valid when the act is done, and what came of it is on record under the key, if there is one.
    """

    token_id: int = 0  #: that it came with
    operator: str
    key: str | None
    fingerprint: str  #: of all that the request asks for
    answer: Callable[[Any], Answered]  #: to what was done
    conversation_id: int | None = None  #: whom the answer is about, one way
    contact_id: int | None = None  #: or the other

    @property
    def hash(self) -> str:
        """Each operator's keys are their own."""
        return sha256(f"{self.operator}\0{self.key}".encode()).hexdigest()

    def begin(self, tx: Transaction, now: int, /) -> None:
        """Raises Repeated, ActRefused."""
        self.require(tx, now)
        if self.key is not None and (found := find(tx, self, now)) is not None:
            raise Repeated(found)

    def require(self, tx: Transaction, _now: int, /) -> None:
        """Who asks may still do so. Raises ActRefused."""
        require_valid(tx, self.token_id)

    def end(self, tx: Transaction, now: int, done: object, /) -> None:
        if self.key is None:
            return
        contact_id = self.contact_id
        if self.conversation_id is not None:
            (contact_id,) = tx.execute(CONTACT_OF, (self.conversation_id,)).fetchone()
        tx.execute(RECORD, (self.hash, self.fingerprint, now, json.dumps(self.answer(done)), contact_id))


async def find_answer(database: Store, request: Request) -> Answered | None:
    """What was answered before, if anything. Raises ActRefused."""
    return None if request.key is None else await database.read(find, request, database.clock.now())


def find(tx: Transaction, request: Request, now: int) -> Answered | None:
    """Raises ActRefused where the key was another request's."""
    row = tx.execute(FIND, (request.hash, now - KEPT_MS)).fetchone()
    if row is None:
        return None
    if row[0] != request.fingerprint:
        raise ActRefused("key_reused", "the Idempotency-Key was used for another request: take a new one")
    answer: Answered = json.loads(row[1])
    return answer


FIND: Final = "SELECT request_hash, answer FROM idempotency_keys WHERE hash = ? AND answered_at >= ?"
RECORD: Final = """
    INSERT INTO idempotency_keys (hash, request_hash, answered_at, answer, contact_id) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (hash) DO UPDATE
    SET request_hash = excluded.request_hash, answered_at = excluded.answered_at, answer = excluded.answer,
        contact_id = excluded.contact_id
"""
CONTACT_OF: Final = """
    SELECT t.contact_id FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id WHERE c.id = ?
"""
