"""How long a message waits between two asks of a model that is down."""

from __future__ import annotations

from typing import Final

from convoq.ai.base import AnswerLost
from convoq.breaker import LONGEST, SHORTEST
from convoq.clock import OUTAGE_PATIENCE
from convoq.errors import RetryLater

LONGEST_PAUSE: Final = 600.0  #: seconds between two answers without use, or two that were lost


def outage_pause(error: RetryLater, waited: float) -> float:
    """Seconds, at least, until a message that has waited so long is asked for again.

    They grow: what fails for one message alone must not be asked for at the pace of those that succeed. Where each ask
    counts to what the message may cost, those that are left last until the patience with an outage ends.
    """
    if not isinstance(error, AnswerLost):
        return min(waited / 2, LONGEST)
    # What was asked in vain may have to be paid all the same: that is done less and less.
    return max(min(waited / 2, LONGEST_PAUSE), _spread(waited, error.asks_left))


def _spread(waited: float, asks: int) -> float:
    """Each of the asks waits longer than the one before by the same factor, and the last is at the patience's end."""
    patience, waited = OUTAGE_PATIENCE.total_seconds(), max(waited, SHORTEST)
    return float(waited * ((patience / waited) ** (1 / asks) - 1))
