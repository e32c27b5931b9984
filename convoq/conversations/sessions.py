"""How operators come to the console's pages: by a link that works once, into a session that ends by itself.

Of links and sessions the database holds the SHA-256 alone: who reads it cannot come in.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any, Final, NamedTuple

from convoq.conversations.access import AccessRole, token_hash
from convoq.conversations.audit_trail import record_act
from convoq.conversations.operator_list import find_operator, list_operators
from convoq.conversations.ownership import ActRefused
from convoq.db.store import Store
from convoq.db.transaction import Transaction

LINK_LIFE: Final = timedelta(minutes=15)
IDLE_LIFE: Final = timedelta(hours=12)
LONGEST_LIFE: Final = timedelta(days=30)
KEPT: Final = timedelta(days=60)  #: what has ended, for who looks at the list
LONGEST_AGENT: Final = 200
LONGEST_SECRET: Final = 64

_MS: Final = timedelta(milliseconds=1)

#: The way of what is done at a page, in the audit trail.
WAY: Final = "page"


class SignInLink(NamedTuple):
    """A link as operators see it; its secret is nowhere."""

    operator: str
    role: AccessRole
    made_at: int

    @property
    def ends_at(self) -> int:
        return self.made_at + LINK_LIFE // _MS


class Session(NamedTuple):
    """A browser that an operator has signed in."""

    id: int
    operator: str
    role: AccessRole
    agent: str  #: what the browser calls itself
    made_at: int
    seen_at: int
    ended_at: int | None
    ended_by: str | None

    def is_valid(self, now: int) -> bool:
        idle, whole = now - self.seen_at, now - self.made_at
        return self.ended_at is None and idle < IDLE_LIFE // _MS and whole < LONGEST_LIFE // _MS


class Sessions:
    """Each method is one transaction."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def all(self) -> list[Session]:
        """The newest first, also those that have ended, for 60 days."""
        return await self._database.read(list_sessions)

    async def link(self, secret: str) -> SignInLink | None:
        """The link that would let in just now; None for every other text."""
        now = self._database.clock.now()
        return await self._database.read(_find_link, secret, now) if len(secret) <= LONGEST_SECRET else None

    async def sign_in(self, secret: str, agent: str) -> tuple[str, Session] | None:
        """The secret of a new session, and the session; None where the link lets in no more. Fsynced."""
        if len(secret) > LONGEST_SECRET:
            return None
        made, now = make_secret(), self._database.clock.now()
        session = await self._database.write(_sign_in, secret, made, agent[:LONGEST_AGENT], now)
        return None if session is None else (made, session)

    async def find(self, secret: str) -> Session | None:
        """The session that is valid just now; None for every other text."""
        now = self._database.clock.now()
        found = await self._database.read(_find, secret) if 0 < len(secret) <= LONGEST_SECRET else None
        return found if found is not None and found.is_valid(now) else None

    async def note_use(self, session_id: int) -> None:
        await self._database.write(_note_use, session_id, self._database.clock.now(), durable=False)

    async def sign_out(self, session: Session) -> None:
        await self._database.write(_sign_out, session, self._database.clock.now())


def make_secret() -> str:
    """32 random bytes: nothing that could be guessed, so a plain hash of it keeps it."""
    return secrets.token_urlsafe(32)


def list_sessions(tx: Transaction) -> list[Session]:
    return [_to_session(row) for row in tx.execute(f"{SESSIONS} ORDER BY id DESC").fetchall()]


def issue_link(tx: Transaction, secret: str, operator: str, role: AccessRole, by: str, now: int) -> SignInLink:
    """Raises ActRefused for a name that is not on the list of operators, or no more."""
    known = find_operator(list_operators(tx), operator)
    if known is None or known.removed_at is not None:
        raise ActRefused("operator", f"{operator} is no operator: convoq operators add {operator}")
    tx.execute("DELETE FROM sign_in_links WHERE made_at < ?", (now - KEPT // _MS,))
    tx.execute("DELETE FROM sessions WHERE made_at < ?", (now - KEPT // _MS,))
    tx.execute(PUT_LINK, (token_hash(secret), known.name, role, now, by))
    return SignInLink(known.name, role, now)


def end_session(tx: Transaction, session_id: int, by: str, now: int) -> Session:
    """From its commit on nothing is done in it. Raises ActRefused."""
    found = tx.execute(f"{SESSIONS} WHERE id = ?", (session_id,)).fetchone()
    if found is None:
        raise ActRefused("token", f"there is no session {session_id}")
    session = _to_session(found)
    if session.ended_at is not None:
        raise ActRefused("unchanged", f"session {session_id} was ended before, by {session.ended_by}")
    tx.execute(END, (now, by, session_id))
    return session._replace(ended_at=now, ended_by=by)


def require_session(tx: Transaction, session_id: int, now: int) -> None:
    """Raises ActRefused where it was ended after its request had come in."""
    found = tx.execute(f"{SESSIONS} WHERE id = ?", (session_id,)).fetchone()
    if found is None or not _to_session(found).is_valid(now):
        raise ActRefused("token", "the session was ended just now")


def _find_link(tx: Transaction, secret: str, now: int) -> SignInLink | None:
    found = tx.execute(LINK, (token_hash(secret), now - LINK_LIFE // _MS)).fetchone()
    return None if found is None else SignInLink(found[0], AccessRole(found[1]), found[2])


def _sign_in(tx: Transaction, secret: str, made: str, agent: str, now: int) -> Session | None:
    link = tx.execute(USE_LINK, (now, token_hash(secret), now - LINK_LIFE // _MS)).fetchone()
    if link is None:
        return None
    operator, role = link
    session = _to_session(tx.execute(BEGIN, (token_hash(made), operator, role, agent, now, now)).fetchone())
    record_act(tx, now, operator, "sign_in", subject=f"session:{session.id}", detail=role, way=WAY)
    return session


def _sign_out(tx: Transaction, session: Session, now: int) -> None:
    if tx.execute(END, (now, session.operator, session.id)).rowcount:
        record_act(tx, now, session.operator, "sign_out", subject=f"session:{session.id}", way=WAY)


def _find(tx: Transaction, secret: str) -> Session | None:
    found = tx.execute(f"{SESSIONS} WHERE hash = ?", (token_hash(secret),)).fetchone()
    return None if found is None else _to_session(found)


def _note_use(tx: Transaction, session_id: int, now: int) -> None:
    tx.execute(
        "UPDATE sessions SET seen_at = ? WHERE id = ? AND ended_at IS NULL AND seen_at < ?", (now, session_id, now)
    )


def _to_session(row: tuple[Any, ...]) -> Session:
    return Session(*row)._replace(role=AccessRole(row[2]))


COLUMNS: Final = "id, operator, role, agent, made_at, seen_at, ended_at, ended_by"
SESSIONS: Final = f"SELECT {COLUMNS} FROM sessions"
BEGIN: Final = f"""
    INSERT INTO sessions (hash, operator, role, agent, made_at, seen_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}
"""
END: Final = "UPDATE sessions SET ended_at = ?, ended_by = ? WHERE id = ? AND ended_at IS NULL"
USE_LINK: Final = """
    UPDATE sign_in_links SET used_at = ? WHERE hash = ? AND used_at IS NULL AND made_at > ? RETURNING operator, role
"""
LINK: Final = "SELECT operator, role, made_at FROM sign_in_links WHERE hash = ? AND used_at IS NULL AND made_at > ?"
PUT_LINK: Final = "INSERT INTO sign_in_links (hash, operator, role, made_at, made_by) VALUES (?, ?, ?, ?, ?)"
