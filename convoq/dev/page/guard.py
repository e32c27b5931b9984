"""Keeps other web sites away from the phone page: it has no login, so nothing but its own pages may use it."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from convoq.console.pages.headers import FORM, HEADERS
from convoq.errors import ConfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_PORT: Final = 80
PAGE_HEADERS: Final = {**HEADERS, "Referrer-Policy": "no-referrer"}


def require_loopback_host(host: str, port: int) -> None:
    """Raises ConfigError unless only this machine can reach that host."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ConfigError(
            f"--host {host}: the phone page has no login, so it only listens on this machine (127.0.0.1). "
            f"From elsewhere use a tunnel: ssh -L {port}:127.0.0.1:{port} HOST"
        )


class RequestGuard:
    """Checks Host (against DNS rebinding) on every request; origin and `token` on those that change something."""

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        self._hosts: set[str] = set()
        for name in ("127.0.0.1", "localhost", "::1"):
            self.add_name(name, port)

    def add_name(self, host: str, port: int) -> None:
        """One more name that this listener goes by."""
        name = f"[{host}]" if ":" in host else host
        self._hosts.add(f"{name}:{port}")
        if port == HTTP_PORT:
            self._hosts.add(name)  # browsers leave out the port that goes without saying

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Host", "").lower() not in self._hosts:
            return web.Response(status=421, text="this address is not the phone page's\n")
        if request.method not in ("GET", "HEAD"):
            if not self._is_same_site(request):
                return _forbidden()
            given = await _token(request)
            if given is None:
                return web.Response(status=400, text="this is not a form of the phone page\n")
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return _forbidden()
        return await handler(request)

    def _is_same_site(self, request: web.Request) -> bool:
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        # Under no-referrer a browser names no origin for a plain form; Sec-Fetch-Site says where it came from.
        if site is not None:
            return site == "same-origin"
        return origin in (None, f"http://{request.headers.get('Host', '').lower()}")


def _forbidden() -> web.Response:
    return web.Response(status=403, text="this did not come from the phone page: reload it and try again\n")


async def _token(request: web.Request) -> str | None:
    """The token that a form names; None for a body that is no such form; any page may send one."""
    if not request.body_exists:
        return ""
    if request.content_type != FORM or (request.charset or "utf-8").lower() != "utf-8":
        return None
    try:
        given = (await request.post()).get("token", "")
    except (UnicodeDecodeError, web.RequestPayloadError):
        return None
    return given if isinstance(given, str) else None


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """Puts the security headers on every answer."""
    response.headers.update(PAGE_HEADERS)
