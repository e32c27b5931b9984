"""Waits for a lock that last: they are said while they last, not when they are over."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Final

SAID_AFTER_SECONDS: Final = 2.0
SAID_AGAIN_SECONDS: Final = 60.0


class LongWaits:
    """Around each wait: `say` is called with its seconds after two of them, and again each minute; `over` at its end.

    The thread that looks is started by a wait and ends once it finds none: a lock that is waited for a hundred times a
    second, and an idle process, cost nothing. One wait at a time.
    """

    def __init__(self, say: Callable[[float], None], over: Callable[[float], None]) -> None:
        self._say = say
        self._over = over
        self._mutex = Lock()
        self._began: float | None = None  #: monotonic; None: nothing waits
        self._says_at = 0.0
        self._said = False
        self._watched = False

    def __enter__(self) -> None:
        with self._mutex:
            self._began = monotonic()
            self._says_at = self._began + SAID_AFTER_SECONDS
            self._said = False
            if not self._watched:
                self._watched = True
                Thread(target=self._watch, name="long waits", daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._mutex:
            began, self._began = self._began, None
            said = self._said
        if said and began is not None:
            self._over(monotonic() - began)

    def _watch(self) -> None:
        pause = Event()  # never set. Not time.sleep: a wall clock that libfaketime turns makes that fail (EINVAL)
        while not pause.wait(SAID_AFTER_SECONDS):
            with self._mutex:
                if self._began is None:
                    self._watched = False
                    return
                now = monotonic()
                if now < self._says_at:
                    continue
                self._says_at = now + SAID_AGAIN_SECONDS
                self._said = True
                seconds = now - self._began
            self._say(seconds)
