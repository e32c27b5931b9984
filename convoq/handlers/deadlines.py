"""Deadlines of handlers: as asyncio.timeout, but one timer watches all of a worker's."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self


class Deadlines:
    """Cancels each handler that runs for longer than `seconds`.

    All have the same length, so the one that was begun or renewed first ends first: only that one needs a timer, and
    most are over before it fires.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[Deadline, float] = {}  # the loop's time when it ends; the earliest is in front
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, deadline: Deadline) -> None:
        """Begins it, or begins it anew."""
        loop = asyncio.get_running_loop()
        self._running.pop(deadline, None)
        ends_at = self._running[deadline] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(ends_at, self._expire)

    def end(self, deadline: Deadline) -> None:
        self._running.pop(deadline, None)

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for deadline, ends_at in list(self._running.items()):
            if ends_at > now:
                self._timer = loop.call_at(ends_at, self._expire)
                return
            del self._running[deadline]
            deadline.expire()


class Deadline:
    """Around what one task does: raises TimeoutError out of it once the time is over."""

    __slots__ = ("_cancelling", "_deadlines", "_is_over", "_task")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._is_over = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for what a task does")
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.end(self)
        # Who else has cancelled it wants it to end as cancelled.
        if self._is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def renew(self) -> bool:
        """Begins it anew, unless it is over."""
        if not self._is_over:
            self._deadlines.begin(self)
        return not self._is_over

    def expire(self) -> None:
        """For the timer: has the task end."""
        self._is_over = True
        self._task.cancel()
