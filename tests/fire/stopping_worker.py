"""A real worker that stops itself once at a named step of a turn: `python stopping_worker.py STEP work`.

As when its machine is suspended right before or after that step; SIGCONT lets it go on as if nothing had happened.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from convoq.cli import main
from convoq.conversations.outbox import Outbox
from convoq.conversations.recording import Recorder
from convoq.conversations.turns import Turns

STEPS: dict[str, tuple[type, str, str]] = {
    "recorded": (Recorder, "record", "after"),
    "begun": (Turns, "look", "after"),
    "model_answered": (Turns, "commit", "before"),
    "committed": (Turns, "commit", "after"),
    "accepted": (Outbox, "mark_sent", "before"),
    "sent": (Outbox, "mark_sent", "after"),
}


def arm(step: str) -> None:
    owner, name, when = STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def stopping(*args: Any, **kwargs: Any) -> Any:
        setattr(owner, name, original)
        if when == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        result = await original(*args, **kwargs)
        if when == "after":
            os.kill(os.getpid(), signal.SIGSTOP)
        return result

    setattr(owner, name, stopping)


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
