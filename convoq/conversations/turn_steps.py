"""What a look at a thread can find, and the rules that it goes by."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from convoq.conversations.choosing import OVERTAKEN_AT
from convoq.conversations.handing_over import HandoverRules
from convoq.conversations.loops import LoopRules
from convoq.conversations.records import Turn
from convoq.conversations.states import Outcome
from convoq.text import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRules:
    """When a turn is due. Durations are ms."""

    quiet_window: int  #: since the last message, so that a burst gets one answer
    max_wait: int  #: since the first, however long the person goes on
    max_tries: int  #: turns that a message may cost
    max_requests: int  #: to models that a message may cost over all its turns
    max_output_tokens: int  #: that models may write for them
    handover: HandoverRules
    loops: LoopRules

    @property
    def overtaken_at(self) -> int:
        """Failures from which on a message is tried alone: its last try is, unless it has but one."""
        return min(OVERTAKEN_AT, max(1, self.max_tries - 1))


class Pending(NamedTuple):
    """Parts of ours are to be delivered before anything else is said."""

    token: str


class Pause(NamedTuple):
    """What waits is to be looked at again."""

    until: int  #: ms on the queue's clock
    reason: str


class Concluded(NamedTuple):
    """What waited gets no answer."""

    token: str
    outcome: Outcome
    loop: str | None = (
        None  #: why a machine seems to write there: nothing is answered until a person of ours has looked
    )


class Spent(NamedTuple):
    """Messages that were tried as often as they may be; the job that is now to be buried ends them."""

    tries: int
    reason: str | None  #: of its last failure


class Costly(NamedTuple):
    """Messages that have cost as much as they may; the job that is now to be buried ends them."""

    requests: int
    output_tokens: int
    reason: str | None  #: of their last failure

    @property
    def told(self) -> str:
        limits = "ai.max_requests_per_message, ai.max_output_tokens_per_message"
        spent = f"no answer for {counted(self.requests, 'model request')} and {self.output_tokens:,} output tokens"
        return f"{spent}, as many as a message may cost ({limits}): {self.reason or 'its turns came to no end'}"


Step = Pending | Pause | Concluded | Spent | Costly | Turn


class Uncommitted(enum.Enum):
    """Why a reply was not committed: what waits is to be looked at again."""

    NEWER = "a newer message waits"
    REFUSED = "it must not go out any more"
