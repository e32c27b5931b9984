"""What people of ours do, whichever way they come: each act is one transaction, with its entry in the audit trail."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from convoq.clock import Clock
from convoq.conversations import (
    access,
    contact_changes,
    erasing,
    exporting,
    operator_list,
    operators,
    ownership,
    pausing,
    rows,
    sessions,
)
from convoq.conversations.access import AccessRole, AccessToken
from convoq.conversations.audit_trail import record_act
from convoq.conversations.contact_changes import ContactChange
from convoq.conversations.operator_list import Operator
from convoq.conversations.operators import Written
from convoq.conversations.ownership import Change, thread_of
from convoq.conversations.records import Conversation
from convoq.conversations.sessions import Session, SignInLink
from convoq.conversations.templates import TemplateRequest
from convoq.conversations.threads import Thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction

T = TypeVar("T")
Wake = Callable[[Transaction, Sequence[Thread]], object]

RESUMED_AT_ONCE = 200  #: chats a transaction, so that the writer is never held long


class Errand(Protocol):
    """What stands around an act in its transaction: whatever it raises undoes the act."""

    def begin(self, tx: Transaction, now: int, /) -> None: ...

    def end(self, tx: Transaction, now: int, done: object, /) -> None: ...


class NoErrand:
    """Of a command, which is there once."""

    def begin(self, tx: Transaction, now: int, /) -> None:
        """Nothing."""

    def end(self, tx: Transaction, now: int, done: object, /) -> None:
        """Nothing."""


NO_ERRAND: Final = NoErrand()


class Actor(NamedTuple):
    """Who acts, and by which way."""

    name: str
    way: str | None = None


def take_over(
    tx: Transaction, actor: Actor, conversation_id: int, now: int, *, force: bool = False, version: int | None = None
) -> Change:
    """As Acts.take_over, in a transaction that holds more."""
    change = ownership.take_over(tx, conversation_id, actor.name, now, force=force, version=version)
    _record(tx, now, actor, "take_over", change.conversation, f"from {change.before}")
    return change


def release(tx: Transaction, actor: Actor, conversation_id: int, now: int, *, force: bool = False) -> Change:
    """As Acts.release; its turn is to be enqueued in this transaction."""
    change = ownership.release(tx, conversation_id, actor.name, now, force=force)
    _record(tx, now, actor, "release", change.conversation, f"from {change.before}")
    return change


def reply(
    tx: Transaction, actor: Actor, conversation_id: int, text: str, key: str, now: int, wall_now: int,
    *, force: bool = False,
) -> Written:  # fmt: skip
    """As Acts.reply; its turn is to be enqueued in this transaction."""
    written = operators.reply(
        tx, conversation_id, operators.checked_text(text), actor.name, key, now, wall_now, force=force
    )
    if written.is_new:
        _record(tx, now, actor, "reply", written.change.conversation, f"#{written.message_id}")
    return written


def _record(tx: Transaction, now: int, actor: Actor, act: str, conversation: Conversation, detail: str) -> None:
    record_act(tx, now, actor.name, act, conversation_id=conversation.id, detail=detail, way=actor.way)


class Acts:
    """The acts of one person of ours, by `name`; fsynced. `wake` is called in the transaction with the threads in which
    a turn is due; `way` is for the audit trail. Raises ActRefused, and nothing is done; LookupError where there is no
    such conversation.
    """

    def __init__(
        self, database: Store, wall: Clock, name: str, wake: Wake, *, way: str | None = None, errand: Errand = NO_ERRAND
    ) -> None:
        self._database = database
        self._wall = wall
        self._name = name
        self._wake = wake
        self._way = way
        self._errand = errand

    async def take_over(self, conversation_id: int, *, force: bool = False, version: int | None = None) -> Change:
        """From its return on nothing of the AI's reaches the channel that had not been handed to it before."""

        def unit(tx: Transaction, now: int) -> Change:
            change = ownership.take_over(tx, conversation_id, self._name, now, force=force, version=version)
            self._record_in(tx, now, "take_over", change.conversation, f"from {change.before}")
            return change

        return await self._do(unit)

    async def leave(self, conversation_id: int, *, force: bool = False, version: int | None = None) -> Change:
        """It waits for a colleague."""

        def unit(tx: Transaction, now: int) -> Change:
            change = ownership.leave(tx, conversation_id, self._name, now, force=force, version=version)
            self._record_in(tx, now, "leave", change.conversation, f"from {change.before}")
            return change

        return await self._do(unit)

    async def set_aside(self, conversation_id: int, *, force: bool = False, version: int | None = None) -> Change:
        """Nobody answers it, say because another program does."""

        def unit(tx: Transaction, now: int) -> Change:
            change = ownership.set_aside(tx, conversation_id, self._name, now, force=force, version=version)
            self._record_in(tx, now, "set_aside", change.conversation, f"from {change.before}")
            return change

        return await self._do(unit)

    async def release(self, conversation_id: int, *, force: bool = False, version: int | None = None) -> Change:
        """The AI answers again, first of all what is unanswered."""

        def unit(tx: Transaction, now: int) -> Change:
            change = ownership.release(tx, conversation_id, self._name, now, force=force, version=version)
            self._record_in(tx, now, "release", change.conversation, f"from {change.before}")
            self._wake_if_due(tx, change.conversation)
            return change

        return await self._do(unit)

    async def close(self, conversation_id: int, *, force: bool = False) -> Change:
        def unit(tx: Transaction, now: int) -> Change:
            change = ownership.close(tx, conversation_id, self._name, now, force=force)
            self._record_in(tx, now, "close", change.conversation)
            return change

        return await self._do(unit)

    async def reopen(self, conversation_id: int) -> Change:
        def unit(tx: Transaction, now: int) -> Change:
            change = ownership.reopen(tx, conversation_id, self._name, now)
            self._record_in(tx, now, "reopen", change.conversation)
            return change

        return await self._do(unit)

    async def reply(
        self, conversation_id: int, said: str | TemplateRequest, *, key: str | None = None, force: bool = False
    ) -> Written:
        """Also takes over. `key` makes repeating it harmless."""
        said, key = operators.checked_text(said) if isinstance(said, str) else said, key or secrets.token_hex(16)

        def unit(tx: Transaction, now: int) -> Written:
            written = operators.reply(tx, conversation_id, said, self._name, key, now, self._wall.now(), force=force)
            self._record_written(tx, now, "reply", written)
            return written

        return await self._do(unit)

    async def write_to(
        self, channel: str, our_address: str, address: str, said: str | TemplateRequest, *, key: str | None = None,
        force: bool = False,
    ) -> Written:  # fmt: skip
        """As reply(), to an address that may be new. A template also goes out where WhatsApp takes no free text."""
        said, key = operators.checked_text(said) if isinstance(said, str) else said, key or secrets.token_hex(16)

        def unit(tx: Transaction, now: int) -> Written:
            written = operators.write_to(
                tx, channel, our_address, address, said, self._name, key, now, self._wall.now(), force=force
            )
            self._record_written(tx, now, "send", written)
            return written

        return await self._do(unit)

    async def note(self, conversation_id: int, text: str) -> int:
        """For people of ours; its id."""
        text = operators.checked_text(text)

        def unit(tx: Transaction, now: int) -> int:
            note_id = operators.add_note(tx, conversation_id, text, self._name, now, self._wall.now())
            self._record(tx, now, "note", conversation_id=conversation_id)
            return note_id

        return await self._do(unit)

    async def pause(self, scope: str, reason: str | None = None) -> None:
        def unit(tx: Transaction, now: int) -> None:
            pausing.pause(tx, scope, self._name, now, reason)
            self._record(tx, now, "pause", subject=scope, detail=reason)

        await self._do(unit)

    async def resume(self, scope: str) -> int:
        """How many chats the AI has back, which had been handed over for the pause."""

        def unit(tx: Transaction, now: int) -> None:
            pausing.resume(tx, scope, self._name, now)
            self._record(tx, now, "resume", subject=scope)

        def give_back(tx: Transaction, now: int) -> int:
            threads = pausing.return_paused(tx, self._name, now, RESUMED_AT_ONCE)
            self._wake(tx, [thread for thread in threads if rows.is_unsettled(tx, thread.id)])
            return len(threads)

        await self._do(unit)
        returned = 0
        while done := await self._do(give_back):
            returned += done
        return returned

    async def block(self, contact_id: int, reason: str | None = None) -> None:
        await self.change_contact(contact_id, ContactChange(blocked=True, reason=reason))

    async def unblock(self, contact_id: int) -> None:
        await self.change_contact(contact_id, ContactChange(blocked=False))

    async def change_contact(self, contact_id: int, change: ContactChange) -> None:
        """Of all addresses of the person."""

        def unit(tx: Transaction, now: int) -> None:
            for act in contact_changes.change_contact(tx, contact_id, change, self._name, now):
                detail = change.reason if act == "block" else None
                self._record(tx, now, act, subject=f"contact:{contact_id}", detail=detail)

        await self._do(unit)

    async def erase(self, channel: str, addresses: Sequence[str], through: int) -> list[int]:
        """Begins to erase who has these addresses, with all that was accepted through then; the contacts' ids."""

        def unit(tx: Transaction, now: int) -> list[int]:
            return erasing.begin(tx, channel, addresses, self._name, now, through, way=self._way)

        return await self._do(unit)

    async def note_export(self, contacts: Sequence[int]) -> None:
        """All that there is of these people is given out."""

        def unit(tx: Transaction, now: int) -> None:
            exporting.record_export(tx, contacts, self._name, now, way=self._way)

        await self._do(unit)

    async def note_run(self, schedule: str, job_id: str) -> str:
        """A run of the schedule was asked for; the job's id."""

        def unit(tx: Transaction, now: int) -> str:
            self._record(tx, now, "run_schedule", subject=f"schedule:{schedule}", detail=f"job {job_id}")
            return job_id

        return await self._do(unit)

    async def do(self, unit: Callable[[Transaction, Actor, int], T]) -> T:
        """An act that stands elsewhere, and puts itself on record."""
        return await self._do(lambda tx, now: unit(tx, Actor(self._name, self._way), now))

    async def add_operator(self, name: str) -> Operator:
        """Also brings back who was removed."""

        def unit(tx: Transaction, now: int) -> Operator:
            operator = operator_list.add_operator(tx, name, self._name, now)
            self._record(tx, now, "add_operator", subject=f"operator:{operator.name}")
            return operator

        return await self._write(unit)

    async def set_phone(self, name: str, phone: str | None, *, alerts: bool = False) -> Operator:
        """The operator's own, from which texts are commands; with `alerts`, who waits for a person is told there."""

        def unit(tx: Transaction, now: int) -> Operator:
            operator = operator_list.set_operator_phone(tx, name, phone, now, alerts=alerts)
            self._record(tx, now, "set_phone", subject=f"operator:{operator.name}")
            return operator

        return await self._write(unit)

    async def remove_operator(self, name: str) -> int:
        """How many chats that person had, which now wait for another one."""

        def unit(tx: Transaction, now: int) -> int:
            left = operator_list.remove_operator(tx, name, self._name, now)
            self._record(tx, now, "remove_operator", subject=f"operator:{name}")
            return left

        return await self._write(unit)

    async def issue_token(self, token: str, operator: str, role: AccessRole) -> AccessToken:
        """From its return on requests with the token act in the operator's name."""

        def unit(tx: Transaction, now: int) -> AccessToken:
            issued = access.issue(tx, token, operator, role, self._name, now)
            self._record(tx, now, "issue_token", subject=f"operator:{issued.operator}", detail=f"{issued.id}, {role}")
            return issued

        return await self._write(unit)

    async def revoke_token(self, token_id: int) -> AccessToken:
        """From its return on nothing more is done with the token, not by a request that is under way either."""

        def unit(tx: Transaction, now: int) -> AccessToken:
            revoked = access.revoke(tx, token_id, self._name, now)
            self._record(tx, now, "revoke_token", subject=f"operator:{revoked.operator}", detail=str(token_id))
            return revoked

        return await self._write(unit)

    async def issue_link(self, secret: str, operator: str, role: AccessRole) -> SignInLink:
        """From its return on who follows the link is signed in as the operator: once, for 15 minutes."""

        def unit(tx: Transaction, now: int) -> SignInLink:
            link = sessions.issue_link(tx, secret, operator, role, self._name, now)
            self._record(tx, now, "issue_link", subject=f"operator:{link.operator}", detail=str(role))
            return link

        return await self._write(unit)

    async def end_session(self, session_id: int) -> Session:
        """From its return on nothing more is done in the session, not by a request that is under way either."""

        def unit(tx: Transaction, now: int) -> Session:
            ended = sessions.end_session(tx, session_id, self._name, now)
            self._record(tx, now, "end_session", subject=f"operator:{ended.operator}", detail=str(session_id))
            return ended

        return await self._write(unit)

    async def note_look(self, conversation_id: int) -> None:
        """A number that is masked was looked at. Raises LookupError."""

        def unit(tx: Transaction, now: int) -> None:
            rows.conversation(tx, conversation_id)
            self._record(tx, now, "see_number", conversation_id=conversation_id)

        await self._do(unit)

    async def _do(self, unit: Callable[[Transaction, int], T]) -> T:
        def as_operator(tx: Transaction, now: int) -> T:
            operator_list.require_operator(tx, self._name)
            self._errand.begin(tx, now)
            done = unit(tx, now)
            self._errand.end(tx, now, done)
            return done

        return await self._write(as_operator)

    async def _write(self, unit: Callable[[Transaction, int], T]) -> T:
        return await self._database.write(unit, self._database.clock.now())

    def _record(
        self, tx: Transaction, now: int, act: str, *, conversation_id: int | None = None, subject: str | None = None,
        detail: str | None = None,
    ) -> None:  # fmt: skip
        record_act(
            tx, now, self._name, act, conversation_id=conversation_id, subject=subject, detail=detail, way=self._way
        )

    def _record_in(
        self, tx: Transaction, now: int, act: str, conversation: Conversation, detail: str | None = None
    ) -> None:
        self._record(tx, now, act, conversation_id=conversation.id, detail=detail)

    def _record_written(self, tx: Transaction, now: int, act: str, written: Written) -> None:
        if written.is_new:
            self._record_in(tx, now, act, written.change.conversation, f"#{written.message_id}")
        self._wake_if_due(tx, written.change.conversation)

    def _wake_if_due(self, tx: Transaction, conversation: Conversation) -> None:
        """At once, also where a turn of the thread backs off."""
        if rows.is_unsettled(tx, conversation.thread_id):
            self._wake(tx, [thread_of(conversation)._replace(failing=True)])
