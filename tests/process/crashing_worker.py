"""A real worker that is killed at a named step of a turn: `python crashing_worker.py STEP work`.

The step's own function runs as always; the process gets SIGKILL right before or after it, as a power switch would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from convoq.channels.twilio.channel import TwilioChannel
from convoq.cli import main
from convoq.conversations.outbox import Outbox
from convoq.conversations.recording import Recorder
from convoq.conversations.turns import Turns
from convoq.queue.service import QueueService

STEPS: dict[str, tuple[type, str, str]] = {
    "claimed": (Recorder, "record", "before"),
    "recorded": (Recorder, "record", "after"),
    "begun": (Turns, "look", "after"),
    "model_answered": (Turns, "commit", "before"),
    "committed": (Turns, "commit", "after"),
    "sending_a_later_part": (Outbox, "mark_sending", "after"),
    "accepted": (TwilioChannel, "send", "after"),
    "sent": (Outbox, "mark_sent", "after"),
    "acked": (QueueService, "ack", "after"),
}


def arm(step: str) -> None:
    owner, name, when = STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def die(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            await original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    def deadly(*args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(die(*args, **kwargs))

    setattr(owner, name, deadly)


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
