"""What everything above asks of the database that holds the conversations, whichever one it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, TypeVar, TypeVarTuple

from convoq.clock import Clock
from convoq.db.log_readers import LogState
from convoq.db.transaction import Transaction

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Footprint(NamedTuple):
    bytes: int
    log: LogState | None  #: of SQLite, and what keeps it from being emptied


class Store(Protocol):
    """Nothing awaits inside a transaction, and a cancelled caller leaves nothing half done: its unit ran whole or not
    at all. Every verb raises DatabaseUnavailable when it cannot be done just now.
    """

    @property
    def clock(self) -> Clock:
        """The queue's clock."""
        ...

    @property
    def location(self) -> str:
        """Where it is, for people and logs: without a password."""
        ...

    async def identity(self) -> str:
        """Tells this database from every other, also from a copy of it."""
        ...

    @property
    def found_schema(self) -> int:
        """What it had before it was migrated; 0: it was created."""
        ...

    @property
    def newest_schema(self) -> int:
        """What this version of convoq brings it up to."""
        ...

    @property
    def has_text_index(self) -> bool:
        """Whether `message_texts` is there, the index of trigrams; without it, texts are searched one by one."""
        ...

    async def write(self, unit: Callable[[Transaction, *Args], T], *args: *Args, durable: bool = True) -> T:
        """Runs `unit` with these arguments in a transaction and returns its result after the commit.

        A unit is a plain function of the transaction that may be run again: it changes nothing but the database. An
        exception of its own undoes it alone and reaches its caller. With `durable=False` the commit may be lost in a
        power cut (not in a crash); that is for what may harmlessly happen again.
        """
        ...

    async def read(self, unit: Callable[[Transaction, *Args], T], *args: *Args) -> T:
        """Runs `unit` with these arguments on one snapshot, beside any writer."""
        ...

    def accepts(self) -> bool:
        """Whether there is room for new promises, as far as this is known. Cheap: asked for every webhook."""
        ...

    async def check(self) -> None:
        """Raises DatabaseRefused when it must not be used any more, while we run."""
        ...

    async def changes(self) -> Hashable:
        """Differs whenever another connection has committed since."""
        ...

    async def make_room(self) -> None:
        """Before the work begins: prepares its disk, so that commits are cheaper."""
        ...

    async def tidy(self) -> None:
        """Gives back room that it no longer needs."""
        ...

    async def scrub(self) -> str | None:
        """What was deleted is gone from its files too; all writers wait meanwhile. Else why not, for people."""
        ...

    async def footprint(self) -> Footprint:
        """What it takes on its disk."""
        ...

    async def close(self) -> None:
        """What was written before is committed."""
        ...
