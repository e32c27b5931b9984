"""What a responder is told of a turn, and what it tells of its requests and its decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, tzinfo
from typing import Final

from convoq.ai.base import Act, Allowance, Author, ContextLine, ModelCall, Reply, ReplyContext
from convoq.clock import Clock
from convoq.conversations.records import Handover, Message, ModelUsage, Turn
from convoq.conversations.states import HandedReason
from convoq.conversations.turns import Turns
from convoq.notes import notes_in

REMEMBERED: Final = timedelta(days=30)  # by then the number may belong to another person


class Prompting:
    """`persona_of` names the persona that speaks for one of our addresses, `zone_of` the time zone that people there
    mean (None: the machine's)."""

    def __init__(
        self,
        turns: Turns,
        wall: Clock,
        persona_of: Callable[[str], str],
        zone_of: Callable[[str], tzinfo | None],
    ) -> None:
        self._turns = turns
        self._wall = wall
        self._persona_of = persona_of
        self._zone_of = zone_of

    async def context_of(self, turn: Turn) -> ReplyContext:
        contact, now = turn.conversation.contact, self._wall.now()
        forgotten = now - REMEMBERED // timedelta(milliseconds=1)

        async def record(call: ModelCall) -> None:
            await self._turns.record_usage(turn, _usage(call))

        requests, output_tokens = self._turns.allowance(turn)
        return ReplyContext(
            conversation_id=turn.conversation.id,
            persona=self._persona_of(turn.conversation.our_address),
            channel=contact.channel,
            our_address=turn.conversation.our_address,
            address=contact.address,
            contact_name=contact.name,
            lines=tuple(_line(message) for message in await self._turns.history(turn)),
            earlier=tuple(_line(message) for message in await self._turns.earlier(turn) if message.wall_at > forgotten),
            now=now,
            timezone=self._zone_of(turn.conversation.our_address),
            record=record,
            allowance=Allowance(requests=requests, output_tokens=output_tokens),
            acts=frozenset({Act.HAND_OVER}) if self._turns.may_hand_over(turn) else frozenset(),
        )


def _line(message: Message) -> ContextLine:
    notes = notes_in(message.description, message.body)
    return ContextLine(author=Author(message.author), text=message.body, at=message.wall_at, notes=notes)


def handover_of(reply: Reply) -> Handover | None:
    if reply.handover is None:
        return None
    return Handover(HandedReason(reply.handover.reason), reply.handover.note)


def _usage(call: ModelCall) -> ModelUsage:
    return ModelUsage(
        model=call.model,
        outcome=call.outcome,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        duration_ms=call.duration_ms,
        error=call.error,
        is_billed=call.is_billed,
    )
