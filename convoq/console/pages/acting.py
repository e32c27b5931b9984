"""Acts at a page: in the session's operator's name, once however often the button is pressed, on record as `page`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from convoq.console.endpoints import Site
from convoq.console.pages.refusals import PageRefused
from convoq.console.pages.visitors import Visitor
from convoq.conversations.acts import Acts
from convoq.conversations.idempotency import Repeated, Request
from convoq.conversations.sessions import WAY, require_session
from convoq.db.transaction import Transaction
from convoq.handlers.receive import enqueue_turns

LONGEST_KEY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest(Request):
    """As Request, of a session instead of a token."""

    session_id: int

    def require(self, tx: Transaction, now: int, /) -> None:
        """The session is valid still. Raises ActRefused."""
        require_session(tx, self.session_id, now)


async def act(
    site: Site, visitor: Visitor, conversation_id: int | None, what: str, form: Mapping[str, str],
    work: Callable[[Acts], Awaitable[Any]], answer: Callable[[Any], Mapping[str, Any]],
) -> Mapping[str, Any]:  # fmt: skip
    """Does it, or answers as before where the same form has done it. Raises PageRefused, ActRefused, LookupError."""
    require_acting(visitor)
    key = form.get("key", "")
    if not 0 < len(key) <= LONGEST_KEY:
        raise PageRefused(400, "The form is not whole: reload the page and try again.")
    said = [f"{name}={value}" for name, value in sorted(form.items()) if name not in ("token", "key", "force")]
    request = PageRequest(
        session_id=visitor.session.id, operator=visitor.name, key=f"page:{key}", answer=answer,
        fingerprint=sha256("\0".join([what, str(conversation_id), *said]).encode()).hexdigest(),
        conversation_id=conversation_id,
    )  # fmt: skip
    follow_ups = site.follow_ups()
    wake = partial(enqueue_turns, follow_ups)
    acts = Acts(site.database, site.wall, visitor.name, wake, way=WAY, errand=request)
    try:
        done = await work(acts)
    except Repeated as repeated:
        return repeated.answer
    await follow_ups.send()
    return answer(done)


def require_acting(visitor: Visitor) -> None:
    """Raises PageRefused."""
    if not visitor.acts:
        raise PageRefused(403, "You look on here: a viewer changes nothing.")
