"""The doctor tells how long what people wrote is kept, and whether an erasure came to no end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from convoq.monitoring.findings import Finding, ok, warn
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.settings import Options


def settings(options: Options) -> Iterator[Finding]:
    """One line: what is kept how long."""
    from convoq.monitoring.kept import describe_kept

    yield ok("kept", describe_kept(options))


async def unfinished(database: Store) -> list[Finding]:
    """People whose erasure was cut off, or kept from a file."""
    from convoq.conversations.erasures import Erasures

    left = await Erasures(database).cut_off()
    fix = "run convoq contacts erase again, with the same number"
    return (
        [warn("erasure", f"{counted(len(left), 'address', 'addresses')} may not be erased wholly", fix)] if left else []
    )
