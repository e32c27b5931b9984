"""What confirms a STOP in the timelines: each sentence another one, so that one that is said twice is seen."""

from __future__ import annotations

from itertools import count

from convoq.channels.base import Inbound
from convoq.conversations.confirming import Confirmations


class NumberedConfirmations(Confirmations):
    def __init__(self) -> None:
        super().__init__({}, lambda _: "en")
        self._numbers = count()

    def text(self, inbound: Inbound) -> str:
        return f"stopped{next(self._numbers)} for good"
