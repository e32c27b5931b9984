"""The cookie that a session is carried in."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from convoq.console.door import LOOPBACK
from convoq.conversations.sessions import LONGEST_LIFE

NAME: Final = "__Host-convoq"


def cookie_name(request: web.Request) -> str:
    """`__Host-convoq`, which browsers keep and send over TLS alone; on this machine without TLS, `convoq-PORT`.

    A browser takes the prefix over plain HTTP in some versions for localhost and in others never (Safari), and what it
    does take there it shares between the ports: the port in the name keeps two consoles apart.
    """
    host = urlsplit(f"//{request.host}")
    return f"convoq-{host.port or 80}" if host.hostname in LOOPBACK else NAME


def set_cookie(request: web.Request, response: web.StreamResponse, secret: str) -> None:
    name = cookie_name(request)
    response.set_cookie(
        name, secret, max_age=int(LONGEST_LIFE.total_seconds()), path="/", httponly=True, samesite="Strict",
        secure=name == NAME,
    )  # fmt: skip


def delete_cookie(request: web.Request, response: web.StreamResponse) -> None:
    name = cookie_name(request)
    response.set_cookie(name, "", max_age=0, path="/", httponly=True, samesite="Strict", secure=name == NAME)
