"""Which operators may act. Until the first one is added, access to the database is all that it takes."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.notifications import PHONE_TARGET
from convoq.conversations.ownership import ActRefused, set_owner
from convoq.conversations.phones import forget_phone, set_phone
from convoq.conversations.states import HandedReason, Owner
from convoq.db.store import Store
from convoq.db.transaction import Transaction


class Operator(NamedTuple):
    """A person of ours, who may act until removed."""

    name: str
    added_at: int
    added_by: str
    removed_at: int | None
    removed_by: str | None
    phone: str | None = None  #: their own, from which texts are commands
    alerts: int = 0  #: whether who waits for a person is told there


class OperatorList:
    """Reads only."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def all(self) -> list[Operator]:
        """By name, also who was removed."""
        return await self._database.read(list_operators)


def list_operators(tx: Transaction) -> list[Operator]:
    return [Operator(*row) for row in tx.execute(OPERATORS)]


def find_operator(operators: list[Operator], name: str) -> Operator | None:
    """The operator of that name, however it is capitalized."""
    return next((one for one in operators if one.name.casefold() == name.casefold()), None)


def require_operator(tx: Transaction, name: str) -> None:
    """Raises ActRefused for who was removed, and, once there are any, for who is none."""
    operators = list_operators(tx)
    known = find_operator(operators, name)
    if known is not None and known.removed_at is not None:
        raise ActRefused("operator", f"{known.name} is no operator any more: removed by {known.removed_by}")
    if known is None and (active := [one.name for one in operators if one.removed_at is None]):
        raise ActRefused("operator", f"{name} is no operator; there are {', '.join(active)}")


def add_operator(tx: Transaction, name: str, by: str, now: int) -> Operator:
    """Also brings back who was removed. Raises ActRefused."""
    known = find_operator(list_operators(tx), name)
    if known is not None and known.removed_at is None:
        raise ActRefused("unchanged", f"{known.name} is an operator already")
    operator = Operator(known.name if known else name, now, by, None, None)
    tx.execute(PUT, operator[:5])
    return operator


def set_operator_phone(tx: Transaction, name: str, phone: str | None, now: int, *, alerts: bool) -> Operator:
    """The operator's own phone; None: they have none any more. Raises ActRefused."""
    known = find_operator(list_operators(tx), name)
    if known is None or known.removed_at is not None:
        raise ActRefused("operator", f"{name} is no operator")
    forget_phone(tx, known.name, now)
    if phone is not None:
        set_phone(tx, known.name, phone, alerts=alerts)
    return known._replace(phone=phone, alerts=int(phone is not None and alerts))


def remove_operator(tx: Transaction, name: str, by: str, now: int) -> int:
    """From its commit on nothing is done in that name, with its tokens or in its sessions.

    How many chats of theirs wait for another one. Raises ActRefused.
    """
    known = find_operator(list_operators(tx), name)
    if known is None or known.removed_at is not None:
        raise ActRefused("operator", f"{name} is no operator")
    tx.execute("UPDATE operators SET removed_at = ?, removed_by = ? WHERE name = ?", (now, by, known.name))
    # Revoked, not only without an operator: who is added again does not come in with an old one.
    tx.execute(REVOKE_TOKENS, (now, by, known.name))
    tx.execute(END_SESSIONS, (now, by, known.name))
    tx.execute("DELETE FROM sign_in_links WHERE operator = ? AND used_at IS NULL", (known.name,))
    forget_phone(tx, known.name, now)
    owned = [conversation_id for (conversation_id,) in tx.execute(OWNED, (known.name,)).fetchall()]
    for conversation_id in owned:
        conversation = rows.conversation(tx, conversation_id)
        why = f"{known.name} was removed"
        set_owner(tx, conversation, Owner.WAITING, who=by, why=why, now=now, reason=HandedReason.UNATTENDED)
    return len(owned)


OPERATORS: Final = f"""
    SELECT name, added_at, added_by, removed_at, removed_by, phone,
        (SELECT count(*) FROM notify_targets AS t WHERE t.name = '{PHONE_TARGET}' || operators.name)
    FROM operators ORDER BY name
"""
PUT: Final = """
    INSERT INTO operators (name, added_at, added_by, removed_at, removed_by) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE
    SET added_at = excluded.added_at, added_by = excluded.added_by, removed_at = NULL, removed_by = NULL
"""
OWNED: Final = """
    SELECT id FROM conversations
    WHERE status IN ('active', 'idle') AND owner = 'human' AND owner_name = ? ORDER BY id
"""
REVOKE_TOKENS: Final = """
    UPDATE access_tokens SET revoked_at = ?, revoked_by = ? WHERE operator = ? AND revoked_at IS NULL
"""
END_SESSIONS: Final = "UPDATE sessions SET ended_at = ?, ended_by = ? WHERE operator = ? AND ended_at IS NULL"
