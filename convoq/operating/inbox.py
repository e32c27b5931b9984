"""Which conversations are asked for, in an operator's words."""

from __future__ import annotations

import enum
import re
from dataclasses import replace
from typing import Final

from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import Owner, Status

OPEN: Final = (Status.ACTIVE, Status.IDLE)

_LIKE_A_NUMBER: Final = re.compile(r"\+?[0-9][0-9 ().-]{2,}")
_BETWEEN_DIGITS: Final = re.compile(r"[ ().-]")


class View(enum.StrEnum):
    """What an operator comes for."""

    OPEN = "open"
    MINE = "mine"  #: those that this operator has
    PERSON = "person"  #: those that wait for a person, who has waited longest first
    AI = "ai"  #: those with a message that the AI is to answer, the oldest first
    FAILED = "failed"  #: those with a message or reply that failed
    CLOSED = "closed"


def seen_as(view: View, where: ConversationFilter, operator: str) -> ConversationFilter:
    """Of those conversations the ones in this operator's view."""
    match view:
        case View.OPEN:
            return _narrowed(where, OPEN)
        case View.MINE:
            return replace(_narrowed(where, OPEN, Owner.HUMAN), owner_name=operator)
        case View.PERSON:
            return replace(_narrowed(where, OPEN, Owner.WAITING), longest_first=True)
        case View.AI:
            return replace(_narrowed(where, OPEN, Owner.AI), waiting=True, longest_first=True)
        case View.FAILED:
            return replace(where, failed=True)
        case View.CLOSED:
            return _narrowed(where, (Status.CLOSED,))


def _narrowed(where: ConversationFilter, statuses: tuple[Status, ...], *owners: Owner) -> ConversationFilter:
    return replace(
        where,
        statuses=tuple(one for one in statuses if where.statuses is None or one in where.statuses),
        owners=tuple(one for one in owners if where.owners is None or one in where.owners) if owners else where.owners,
    )


def asked_for(words: str, where: ConversationFilter) -> ConversationFilter:
    """Of those conversations the ones with that person's number, or else with the words in a message or a name."""
    if _LIKE_A_NUMBER.fullmatch(words):
        return replace(where, address=_BETWEEN_DIGITS.sub("", words))
    return replace(where, text=words, in_name=True)
