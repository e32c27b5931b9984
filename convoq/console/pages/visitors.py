"""Who looks at a page."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from aiohttp import web

from convoq.conversations.access import AccessRole
from convoq.conversations.sessions import Session


class Visitor(NamedTuple):
    """A session at the pages."""

    session: Session
    form_token: str  #: every form that changes something names it

    @property
    def name(self) -> str:
        return self.session.operator

    @property
    def acts(self) -> bool:
        """Whether this is more than looking on: a viewer sees numbers masked, and no buttons."""
        return self.session.role.includes(AccessRole.OPERATOR)


VISITOR: Final = web.RequestKey("visitor", Visitor)


def form_token(secret: str) -> str:
    """Of the session with this secret: made from it, so that it is nowhere else."""
    return sha256(f"form:{secret}".encode()).hexdigest()
