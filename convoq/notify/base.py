"""What a target of notifications is, and how one does not take what it is told."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from convoq.conversations.notifications import Notification
from convoq.errors import ConvoqError


class TargetFailed(ConvoqError):
    """It did not take what it was told."""

    def __init__(
        self, reason: str, *, is_refusal: bool = False, is_gone: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.is_refusal = is_refusal  #: it was reached, and does not want this
        self.is_gone = is_gone  #: and never will
        self.retry_after = retry_after  #: seconds that it asks for


class TargetSkips(ConvoqError):
    """It is not to be told this, and that is no fault of its own."""


class Taken(NamedTuple):
    """What a target said that took it."""

    answer: str  #: one line


class Target(Protocol):
    """Where notifications go."""

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str:
        """For people and logs: without what may be a key."""
        ...

    @property
    def wants_texts(self) -> bool: ...

    async def send(self, notification: Notification) -> Taken:
        """Tries once, for as long as `notify.timeout` says at most. Raises TargetFailed."""
        ...

    async def close(self) -> None: ...
