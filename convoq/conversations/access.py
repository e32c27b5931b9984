"""The tokens that programs come in with, each in the name of an operator and with a role."""

from __future__ import annotations

import enum
import re
import secrets
from hashlib import sha256
from typing import Any, Final, NamedTuple

from convoq.conversations.operator_list import find_operator, list_operators
from convoq.conversations.ownership import ActRefused
from convoq.db.store import Store
from convoq.db.transaction import Transaction

_TOKEN: Final = re.compile(r"cvq_[A-Za-z0-9_-]{43}")


class AccessRole(enum.StrEnum):
    """What a token is good for. Each may do all that those before it may."""

    VIEWER = "viewer"  #: looks, and sees numbers masked
    OPERATOR = "operator"  #: answers people, and sees their numbers
    ADMIN = "admin"  #: erases people, and sees who did what

    def includes(self, other: AccessRole) -> bool:
        order = list(AccessRole)
        return order.index(self) >= order.index(other)


class AccessToken(NamedTuple):
    """A token as operators see it; itself it is nowhere."""

    id: int
    operator: str
    role: AccessRole
    made_at: int
    made_by: str
    used_at: int | None
    revoked_at: int | None
    revoked_by: str | None


class AccessTokens:
    """Each method is one transaction."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def all(self) -> list[AccessToken]:
        """The oldest first, also those that were revoked."""
        return await self._database.read(list_tokens)

    async def find(self, token: str) -> AccessToken | None:
        """The one that lets in just now; None for every other text."""
        return None if _TOKEN.fullmatch(token) is None else await self._database.read(_find, token_hash(token))

    async def note_use(self, token_id: int) -> None:
        await self._database.write(_note_use, token_id, self._database.clock.now(), durable=False)


def make_token() -> str:
    """32 random bytes: nothing that could be guessed, so a plain hash of it keeps it."""
    return f"cvq_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def list_tokens(tx: Transaction) -> list[AccessToken]:
    return [_to_token(row) for row in tx.execute(f"{TOKENS} ORDER BY id").fetchall()]


def issue(tx: Transaction, token: str, operator: str, role: AccessRole, by: str, now: int) -> AccessToken:
    """Raises ActRefused for a name that is not on the list of operators, or no more."""
    known = find_operator(list_operators(tx), operator)
    if known is None or known.removed_at is not None:
        raise ActRefused("operator", f"{operator} is no operator: convoq operators add {operator}")
    return _to_token(tx.execute(ISSUE, (token_hash(token), known.name, role, now, by)).fetchone())


def revoke(tx: Transaction, token_id: int, by: str, now: int) -> AccessToken:
    """From its commit on nothing is done with it. Raises ActRefused."""
    found = tx.execute(f"{TOKENS} WHERE id = ?", (token_id,)).fetchone()
    if found is None:
        raise ActRefused("token", f"there is no token {token_id}")
    token = _to_token(found)
    if token.revoked_at is not None:
        raise ActRefused("unchanged", f"token {token_id} was revoked before, by {token.revoked_by}")
    tx.execute(REVOKE, (now, by, token_id))
    return token._replace(revoked_at=now, revoked_by=by)


def require_valid(tx: Transaction, token_id: int) -> None:
    """Raises ActRefused where it was revoked after its request had come in."""
    if tx.execute(f"{TOKENS} WHERE id = ? AND revoked_at IS NULL", (token_id,)).fetchone() is None:
        raise ActRefused("token", "the token was revoked just now")


def _find(tx: Transaction, hashed: str) -> AccessToken | None:
    found = tx.execute(f"{TOKENS} WHERE hash = ? AND revoked_at IS NULL", (hashed,)).fetchone()
    return None if found is None else _to_token(found)


def _note_use(tx: Transaction, token_id: int, now: int) -> None:
    tx.execute("UPDATE access_tokens SET used_at = ? WHERE id = ?", (now, token_id))


def _to_token(row: tuple[Any, ...]) -> AccessToken:
    return AccessToken(*row)._replace(role=AccessRole(row[2]))


COLUMNS: Final = "id, operator, role, made_at, made_by, used_at, revoked_at, revoked_by"
TOKENS: Final = f"SELECT {COLUMNS} FROM access_tokens"
ISSUE: Final = f"""
    INSERT INTO access_tokens (hash, operator, role, made_at, made_by) VALUES (?, ?, ?, ?, ?) RETURNING {COLUMNS}
"""
REVOKE: Final = "UPDATE access_tokens SET revoked_at = ?, revoked_by = ? WHERE id = ?"
