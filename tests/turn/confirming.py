"""What is said in the timelines where no model answers: each sentence another one, so that one said twice is seen."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from convoq.channels.base import Inbound
from convoq.conversations.confirming import Confirmations
from convoq.conversations.handing_over import HandoverRules, HandoverSentences, Told
from tests.handovers import HANDOVER


class NumberedConfirmations(Confirmations):
    def __init__(self) -> None:
        super().__init__({}, lambda _: "en")
        self._numbers = count()

    def text(self, inbound: Inbound) -> str:
        return f"stopped{next(self._numbers)} for good"


class NumberedSentences(HandoverSentences):
    def __init__(self) -> None:
        super().__init__({}, lambda _: "en")
        self._numbers = count()

    def text(self, told: Told, our_address: str, language: str | None = None) -> str:
        return f"{told}{next(self._numbers)} it is"


def numbered_handover() -> HandoverRules:
    return replace(HANDOVER, sentences=NumberedSentences())
