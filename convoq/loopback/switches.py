"""The fault switches: how badly the model and Twilio shall behave, and how often still."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, Self

from aiohttp import web

from convoq.loopback.faults import TwilioFault, refused, reset, too_many
from convoq.loopback.messages import Delivery
from convoq.loopback.people import WHATSAPP
from convoq.loopback.twilio import LoopbackTwilio

SLOW_SECONDS: Final = 6.0

SendFault = Literal["too_many", "lost_answer", "opted_out"]
WINDOW_CLOSED: Final[tuple[str, Delivery]] = (WHATSAPP, (("failed", 63016),))


@dataclass(slots=True)
class ModelState:
    """What the worker asks before each reply."""

    slow: float = 0.0  #: seconds
    down: bool = False
    counts: bool = False  #: each reply as a request of a token: fixed rules ask nothing, and no budget would hold them


class Switches:
    """An async context manager; `url` is what the worker asks about the model."""

    def __init__(self, twilio: LoopbackTwilio) -> None:
        self.model = ModelState()
        self.asked = 0  #: how often a worker was about to ask the model
        self._twilio = twilio
        self._send_faults: deque[SendFault] = deque()
        self._seen = twilio.requests
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def fail_next_send(self, kind: SendFault) -> None:
        """The next send goes wrong this way, after those that were asked for before."""
        self._drop_used()
        self._send_faults.append(kind)
        self._twilio.fail_next(_FAULTS[kind])

    def pending(self, kind: SendFault) -> int:
        """How many of these are still to come."""
        self._drop_used()
        return self._send_faults.count(kind)

    def close_next_window(self) -> None:
        """The next WhatsApp message is taken and then not delivered: 24 hours have passed."""
        self._twilio.next_deliveries.append(WINDOW_CLOSED)

    @property
    def windows_to_close(self) -> int:
        return self._twilio.next_deliveries.count(WINDOW_CLOSED)

    async def wait_until_asked(self, count: int) -> None:
        """Returns once workers were about to ask the model that many times in all."""
        while self.asked < count:
            self._changed.clear()
            await self._changed.wait()

    def _drop_used(self) -> None:
        """Every send takes one, in the order in which they were asked for."""
        for _ in range(min(self._twilio.requests - self._seen, len(self._send_faults))):
            self._send_faults.popleft()
        self._seen = self._twilio.requests

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        self._changed.set()
        return web.json_response({"slow": self.model.slow, "down": self.model.down, "counts": self.model.counts})


_FAULTS: Final[dict[SendFault, TwilioFault]] = {
    "too_many": too_many(),
    "lost_answer": reset(accepted=True),
    "opted_out": refused(21610),
}
