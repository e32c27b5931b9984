"""The colleague at the page: takes a conversation over, writes in it, gives it back, or never comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from convoq.conversations.acts import Acts
from convoq.conversations.ownership import Change
from convoq.conversations.queries import Reading
from convoq.conversations.records import Conversation
from convoq.conversations.states import Owner, Status
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.jobs import ProcessHandovers
from convoq.loopback.people import Phone
from convoq.operating.acting import act_as
from convoq.queue.following import BeginFollowUps
from convoq.settings.people import HandoverSettings
from convoq.text import counted

T = TypeVar("T")

NAME: Final = "Marta"
#: What the person writes who wants one; a message of these words alone asks no AI.
REQUEST: Final = "I want to talk to a human, please"


@dataclass(frozen=True, slots=True)
class DeskView:
    """Who answers a phone's conversation."""

    owner: str  #: ai, waiting, human, nobody
    sentence: str


class NothingToDo(Exception):
    """What was pressed does nothing now; in plain words, for the page."""


class Colleague:
    """Each act returns what came of it, in plain words. Raises NothingToDo, and ActRefused, with the reason."""

    def __init__(self, database: Store, follow_ups: BeginFollowUps, handover: HandoverSettings) -> None:
        self._database = database
        self._follow_ups = follow_ups
        self._handover = handover

    async def desk(self, phone: Phone) -> DeskView:
        return desk_view(await self._find(phone))

    async def take_over(self, phone: Phone) -> str:
        conversation = await self._open(phone)
        change = await self._do(lambda acts: acts.take_over(conversation.id))
        return f"{NAME} took over{_stopped(change)}"

    async def reply(self, phone: Phone, text: str) -> None:
        conversation = await self._open(phone)
        await self._do(lambda acts: acts.reply(conversation.id, text))

    async def give_back(self, phone: Phone) -> str:
        conversation = await self._open(phone)
        change = await self._do(lambda acts: acts.release(conversation.id))
        waits = f": it answers {counted(change.returned, 'message')} first" if change.returned else ""
        return f"{NAME} gave it back to the AI{waits}"

    async def stay_away(self, phone: Phone) -> str:
        """The time that a colleague is awaited for is over at once, for this conversation: first the one, then the
        other of the settings."""
        conversation = await self._open(phone)
        if conversation.owner is not Owner.WAITING:
            raise NothingToDo("Nobody is awaited here")
        taken, back = self._handover.taken_within, self._handover.give_back_within
        tells = conversation.told_at is None and taken > 0
        if not tells and not back:
            raise NothingToDo("handover.give_back_within is 0: the AI never has it back by itself")
        follow_ups = self._follow_ups()

        def unit(tx: Transaction) -> None:
            earlier = round((taken if tells else back) * 1000) + 1
            tx.execute(LET_WAIT_LONGER, {"earlier": earlier, "id": conversation.id})
            follow_ups.enqueue(tx, ProcessHandovers().job(max_attempts=1))

        await self._database.write(unit)
        await follow_ups.send()
        over = "handover.taken_within is over: they are told" if tells else "handover.give_back_within is over, too"
        return f"Nobody came. {over}"

    async def _find(self, phone: Phone) -> Conversation | None:
        found = await Reading(self._database).of_person(phone.address, our_address=phone.ours, limit=1)
        return found[0] if found and found[0].status is not Status.CLOSED else None

    async def _open(self, phone: Phone) -> Conversation:
        conversation = await self._find(phone)
        if conversation is None:
            raise NothingToDo(f"{phone.owner} has not written yet")
        return conversation

    async def _do(self, act: Callable[[Acts], Awaitable[T]]) -> T:
        return await act_as(NAME, self._database, self._follow_ups, act)


def desk_view(conversation: Conversation | None) -> DeskView:
    if conversation is None:
        return DeskView(Owner.AI, "The AI answers.")
    match conversation.owner:
        case Owner.HUMAN:
            sentence = f"{conversation.owner_name or 'A colleague'} answers."
        case Owner.WAITING if conversation.told_at is not None:
            sentence = "Nobody came yet."
        case Owner.WAITING:
            sentence = f"Waits for {NAME}."
        case Owner.NOBODY:
            sentence = f"Nobody answers: {_why_nobody(conversation)}."
        case _:
            sentence = "The AI is paused." if conversation.is_paused else "The AI answers."
    return DeskView(conversation.owner, sentence)


def _why_nobody(conversation: Conversation) -> str:
    if conversation.contact.opted_out_at is not None:
        return "opted out"
    return "blocked" if conversation.contact.blocked_at is not None else "left to nobody"


def _stopped(change: Change) -> str:
    if change.unsent:
        return f": {counted(change.unsent, 'part')} of the AI's answer not sent"
    return ": the AI is silent"


# As if it had waited so much longer already.
LET_WAIT_LONGER: Final = """
    UPDATE conversations SET owner_at = owner_at - :earlier, told_at = told_at - :earlier WHERE id = :id
"""
