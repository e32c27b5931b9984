"""The loopback Twilio and model, which also write down what they did to whom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from aiohttp import web

from convoq.loopback.dialects import ChatMessage, Dialect, RecordedRequest
from convoq.loopback.faults import ModelFault, TwilioFault
from convoq.loopback.messages import Event, TwilioMessage
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import LoopbackTwilio

TOKEN = re.compile(r"#\d{3}\.\d{5}#")  # every message that a person writes carries one of its own
FINAL = (ModelFault.REJECTED, ModelFault.REFUSAL)  #: faults that bury what was asked


class Twilio(LoopbackTwilio):
    """Knows when each message was taken, and which conversations a fault has hit."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_at: dict[str, float] = {}
        self.hit: list[tuple[str, float]] = []  #: who was hit when
        self.faults: Counter[str] = Counter()
        self.listen(self._note)

    def _note(self, event: Event, message: TwilioMessage) -> None:
        if event == "message":
            self.taken_at[message.sid] = monotonic()

    async def _go_wrong(
        self, fault: TwilioFault, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        if fault is not self.fault:
            self.faults[f"Twilio: {name_of(fault)}"] += 1
            person = (await request.post()).get("To") or request.query.get("To", "")
            self.hit.append((str(person), monotonic()))
        return await super()._go_wrong(fault, request, handler)

    def has_queued(self, on: str) -> bool:
        """Whether a fault of such requests has not found its victim yet."""
        return any(fault.on == on for fault in self._next_faults)


class Model(LoopbackModel):
    """Answers with the tokens of what it was asked last, so that a reply proves which messages it covers."""

    def __init__(self) -> None:
        super().__init__(covering, retry_after=1, delay=0.1)
        self.faults: Counter[str] = Counter()
        self.hit: list[tuple[str, float]] = []  #: which message was hit when, by its token
        self.refused: set[str] = set()  #: the tokens of what was asked and refused for good

    async def _respond(
        self, request: web.Request, dialect: Dialect, asked: RecordedRequest, fault: ModelFault | None
    ) -> web.StreamResponse:
        if fault is not None and fault is not self.mode:
            self.faults[f"model: {fault}"] += 1
            tokens = TOKEN.findall(asked.messages[-1].text)
            self.hit += [(token, monotonic()) for token in tokens]
            self.refused.update(tokens if fault in FINAL else ())
        return await super()._respond(request, dialect, asked, fault)


def covering(messages: Sequence[ChatMessage]) -> str:
    """The model's rule."""
    return "You wrote " + " ".join(TOKEN.findall(messages[-1].text))


def name_of(fault: TwilioFault) -> str:
    """A fault in words: what is answered, and whether the message was taken."""
    answer = str(fault.status) if fault.answer == "error" else fault.answer
    if fault.on == "read":
        return f"{answer} on the list"
    return f"{answer}, {'taken' if fault.accepts else 'not taken'}"
