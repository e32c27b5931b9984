"""Why what the AI could not answer is left to a person of ours."""

from __future__ import annotations

from convoq.ai.base import AnswerRefused, Useless
from convoq.conversations.states import HandedReason
from convoq.errors import RetryLater


def reason_of(error: BaseException) -> HandedReason:
    """By what came of the turn."""
    match error:
        case Useless():
            return HandedReason.LOOP
        case AnswerRefused():
            return HandedReason.SAFETY
        case RetryLater():
            return HandedReason.PROVIDER_DOWN
        case _:
            return HandedReason.OTHER
