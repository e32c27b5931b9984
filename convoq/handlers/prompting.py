"""What a responder is told of a turn, and what it tells of its requests and its decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta, tzinfo
from typing import Final

from convoq.ai.base import Act, Allowance, Author, ContextLine, Reply, ReplyContext, hold_nothing
from convoq.ai.times import moment
from convoq.clock import Clock
from convoq.conversations.happenings import Happening, Note, OwnerPeriod
from convoq.conversations.past import Past
from convoq.conversations.records import Handover, Message, Turn
from convoq.conversations.states import HandedReason, Owner
from convoq.conversations.turns import Turns
from convoq.handlers.costs import Costs, TurnCosts
from convoq.notes import notes_in

RETURNED: Final = "no colleague has answered what follows: answer it yourself"
REMEMBERED: Final = timedelta(days=30)  # by then the number may belong to another person
_BECAUSE: Final = {
    HandedReason.ASKED: "the person wanted a human",
    HandedReason.COMPLAINT: "a complaint",
    HandedReason.MANDATE: "it was not yours to decide",
    HandedReason.UNSURE: "you did not know",
    HandedReason.SAFETY: "somebody might be in danger",
}


class Prompting:
    """`persona_of` names the persona that speaks for one of our addresses, `zone_of` the time zone that people there
    mean (None: the machine's)."""

    def __init__(
        self,
        turns: Turns,
        costs: Costs,
        wall: Clock,
        persona_of: Callable[[str], str],
        zone_of: Callable[[str], tzinfo | None],
        *,
        may_close: bool,
    ) -> None:
        self._turns = turns
        self._costs = costs
        self._wall = wall
        self._persona_of = persona_of
        self._zone_of = zone_of
        self._may_close = may_close

    async def context_of(self, turn: Turn) -> ReplyContext:
        contact, now = turn.conversation.contact, self._wall.now()
        forgotten = now - REMEMBERED // timedelta(milliseconds=1)

        past = await self._turns.past(turn)
        costs = TurnCosts(self._costs, turn)
        requests, output_tokens = self._turns.allowance(turn)
        return ReplyContext(
            conversation_id=turn.conversation.id,
            persona=self._persona_of(turn.conversation.our_address),
            channel=contact.channel,
            our_address=turn.conversation.our_address,
            address=contact.address,
            contact_name=contact.name,
            contact_facts=past.facts,
            lines=tuple(self._lines(turn, past)),
            earlier=tuple(_line(message) for message in past.earlier if message.wall_at > forgotten),
            now=now,
            timezone=self._zone_of(turn.conversation.our_address),
            record=costs.record,
            hold=costs.hold if self._costs.budgets.are_set else hold_nothing,
            allowance=Allowance(requests=requests, output_tokens=output_tokens),
            acts=frozenset(self._acts(turn)),
        )

    def _acts(self, turn: Turn) -> Iterator[Act]:
        if self._turns.may_hand_over(turn):
            yield Act.HAND_OVER
        if self._may_close:
            yield Act.END

    def _lines(self, turn: Turn, past: Past) -> list[ContextLine]:
        """What was said and what happened, oldest first.

        What is to be answered comes last even where an answer to others is younger: else it would look answered, or
        those would not.
        """
        begins_at = (past.said or turn.shown)[0].at
        happenings = [happening for happening in past.happened if happening.at >= begins_at]
        lines = list(_in_order(past.said, happenings, self._zone_of(turn.conversation.our_address)))
        if any(message.returned for message in turn.shown):
            lines.append(ContextLine(author=Author.SYSTEM, text=RETURNED, at=self._wall.now()))
        return [*lines, *map(_line, turn.shown)]


def _in_order(
    settled: Sequence[Message], happenings: Sequence[Happening], zone: tzinfo | None
) -> Iterator[ContextLine]:
    """Each happening stands before what was said after it; at the same moment, behind the words that led to it."""
    left = deque(happenings)
    for message in settled:
        while left and left[0].at < message.at + (message.direction == "out"):
            yield _told(left.popleft(), zone)
        yield _line(message)
    yield from (_told(happening, zone) for happening in left)


def _told(happening: Happening, zone: tzinfo | None) -> ContextLine:
    match happening.what:
        case Note(who, text):
            told = f"note of {who}, a colleague, which the person has not seen: {text}"
        case OwnerPeriod(Owner.HUMAN, name, _, until):
            told = f"from here on {name}, a colleague, answered{_until(until, zone)}"
        case OwnerPeriod(Owner.WAITING, _, reason, until):
            why = f" ({_BECAUSE[reason]})" if reason else ""
            told = f"from here on a colleague was awaited{why}{_until(until, zone)}"
        case _:
            told = "from here on it is you who answers, and nobody else"
    return ContextLine(author=Author.SYSTEM, text=told, at=happening.wall_at)


def _until(until: int | None, zone: tzinfo | None) -> str:
    return f"; that ended on {moment(until, zone)}" if until is not None else ""


def _line(message: Message) -> ContextLine:
    notes = notes_in(message.description, message.body)
    return ContextLine(author=Author(message.author), text=message.body, at=message.wall_at, notes=notes)


def handover_of(reply: Reply) -> Handover | None:
    if reply.handover is None:
        return None
    return Handover(HandedReason(reply.handover.reason), reply.handover.note)
