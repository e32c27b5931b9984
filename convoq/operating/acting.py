"""An act together with what follows from it in the queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from convoq.clock import WallClock
from convoq.conversations.acts import Acts
from convoq.db.store import Store
from convoq.handlers.receive import enqueue_turns
from convoq.queue.following import BeginFollowUps

T = TypeVar("T")


async def act_as(name: str, database: Store, begin: BeginFollowUps, act: Callable[[Acts], Awaitable[T]]) -> T:
    """Returns once the turns that are due for it are in the queue. Raises ActRefused, and nothing is done."""
    follow_ups = begin()
    done = await act(Acts(database, WallClock(), name, partial(enqueue_turns, follow_ups)))
    await follow_ups.send()
    return done
