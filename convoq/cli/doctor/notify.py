"""The doctor says who would be told when something calls for a person; only `convoq notify test` asks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from convoq.monitoring.findings import Finding, note, ok, warn
from convoq.text import harmless

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.settings import Options


def settings(options: Options) -> Iterator[Finding]:
    """Hosts alone: what else stands in an address may be a key."""
    url = options.notify.url.get_secret_value() if options.notify.url else None
    hosts = {"webhook": url, "mail": options.notify.smtp_url}
    told = [f"{name} {urlsplit(address).hostname}" for name, address in hosts.items() if address is not None]
    if told:
        yield ok("notify", f"{', '.join(told)}: not asked now. convoq notify test asks")
    else:
        yield note("notify", "nobody is told when something calls for a person", "set [notify]: docs/notify.md")


async def failing(database: Store) -> list[Finding]:
    """Targets that take nothing, or want nothing any more."""
    from convoq.clock import WallClock
    from convoq.conversations.notifications import Notifications
    from convoq.monitoring.snapshot import describe_target

    targets = await Notifications(database, WallClock()).targets()
    return [
        warn(f"notify {one.name}", harmless(said), "convoq notify test")
        for one in targets
        if (said := describe_target(one))
    ]
