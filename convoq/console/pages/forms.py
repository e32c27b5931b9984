"""Reads the forms of the pages, and refuses those that no page of ours has sent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from convoq.api.body import media_type_of, read_body
from convoq.api.connections import Limits
from convoq.channels.base import WebhookRefused
from convoq.console.door import LOOPBACK
from convoq.console.pages.headers import FORM
from convoq.console.pages.refusals import PageRefused

MOST_FIELDS: Final = 100


class FormFields(dict[str, str]):
    """What a form says, by name."""


def require_same_origin(request: web.Request) -> None:
    """By what no page can make a browser say falsely. Raises PageRefused where the browser says nothing, too."""
    site = request.headers.get("Sec-Fetch-Site")
    try:
        given, host = urlsplit(request.headers.get("Origin", "")), urlsplit(f"//{request.host}")
        same = given.netloc.lower() == host.netloc.lower() and given.scheme in ("http", "https")
        secure = given.scheme == "https" or host.hostname in LOOPBACK
    except ValueError:
        same = secure = False
    if same and not secure:
        raise PageRefused(403, "The console's pages need HTTPS beyond this machine: put TLS in front of them.")
    if site != "same-origin" and (site is not None or not same):
        raise PageRefused(403, "This did not come from a page of the console: reload the page and try again.")


async def read_form(request: web.Request, limits: Limits) -> FormFields:
    """Its fields, of each name the last. Raises PageRefused."""
    try:
        media_type_of(request, (FORM,))
        content = await read_body(request, limits)
        pairs = parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except WebhookRefused as refused:
        raise PageRefused(refused.status, f"The form could not be read: {refused.reason}.") from None
    except ValueError:
        raise PageRefused(400, "The form could not be read: it is no UTF-8, or has too many fields.") from None
    # A form that a browser sends by itself ends its lines as HTTP does; no text of a database's holds a NUL.
    return FormFields({name: value.replace("\r\n", "\n").replace("\0", "") for name, value in pairs})


def require_form_token(form: Mapping[str, str], token: str) -> None:
    """Raises PageRefused."""
    if not secrets.compare_digest(form.get("token", "").encode(), token.encode()):
        raise PageRefused(403, "The page is of another session: reload it and try again.")
