"""Who comes in: for a name that is ours, with a token that is valid now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, NoReturn
from urllib.parse import urlsplit

from aiohttp import web

from convoq.api.throttle import Throttle
from convoq.console.problems import Problem
from convoq.console.uses import Uses
from convoq.conversations.access import AccessToken, AccessTokens
from convoq.logs import log

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
FAILURES_AT_ONCE: Final = 20
SECONDS_A_FAILURE: Final = 1.0

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="convoq"'}


class Door:
    """Failures are answered 429 once there are too many of them; who has a valid token never notices."""

    def __init__(
        self, tokens: AccessTokens, names: Iterable[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = tokens
        self._names = LOOPBACK | {name.lower() for name in names}
        self._clock = clock
        self._failures = Throttle(clock, burst=FAILURES_AT_ONCE, every=SECONDS_A_FAILURE)
        self._lines = Throttle(clock)
        self._uses = Uses(tokens.note_use, clock)

    def require_name(self, request: web.Request) -> None:
        """A page elsewhere whose name has been led to this machine asks for that name. Raises Problem."""
        given = request.headers.getall("Host", [])
        try:
            name = urlsplit(f"//{given[0]}").hostname if len(given) == 1 else None
        except ValueError:
            name = None
        if name is None or name.lower() not in self._names:
            self._log("it is for another host: console.names", request)
            raise Problem("misdirected", "this is no name of this server: console.names lists them")

    async def admit(self, request: web.Request) -> AccessToken:
        """Raises Problem."""
        given = request.headers.getall("Authorization", [])
        scheme, _, secret = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        token = await self._tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            self._fail(request, "it has no token" if not given else "its token is not valid")
        self._uses.note(token.id)
        return token

    async def close(self) -> None:
        await self._uses.close()

    def _fail(self, request: web.Request, reason: str) -> NoReturn:
        self._log(reason, request)
        if self._failures.admit() is None:
            retry = {"Retry-After": str(round(SECONDS_A_FAILURE))}
            raise Problem(
                "too-many", "too many requests without a valid token: wait, and look at the token", headers=retry
            )
        detail = "send Authorization: Bearer and a token that is valid: convoq operators token makes one"
        raise Problem("unauthorized", detail, headers=_CHALLENGE)

    def _log(self, reason: str, request: web.Request) -> None:
        held_back = self._lines.admit()
        if held_back is not None:
            log.warning("console.refused", reason=reason, peer=request.remote, held_back=held_back)
