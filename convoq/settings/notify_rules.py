"""What must hold between the options of [notify]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from convoq.settings.notify import NotifySettings, signing_key

#: Where below [notify], what is wrong there, and the options beside it that the rule reads.
Flaw = tuple[tuple[str | int, ...], str, tuple[str, ...]]

_MAILBOX: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")


def notify_flaws(notify: NotifySettings) -> Iterator[Flaw]:
    """Without the values: they may hold keys."""
    if notify.url is not None:
        if wrong := _wrong_webhook(notify.url.get_secret_value(), allow_http=notify.allow_private):
            yield ("url",), wrong, ("allow_private",)
        if notify.secret is None:
            yield ("url",), "needs notify.secret: convoq notify secret makes one", ("secret",)
    if notify.secret is not None:
        try:
            signing_key(notify.secret.get_secret_value())
        except ValueError as error:
            yield ("secret",), str(error), ()
    if notify.smtp_url is not None:
        yield from _mail(notify, notify.smtp_url)


def _wrong_webhook(url: str, *, allow_http: bool) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return "must start with https:// and a host, without user name and password"
    if parts.fragment:
        return "must not hold a fragment (#)"
    if parts.scheme == "http" and not allow_http:
        return "must be https: http is for a private network, with notify.allow_private"
    return None


def _mail(notify: NotifySettings, url: str) -> Iterator[Flaw]:
    if wrong := _wrong_server(url, has_password=notify.smtp_password is not None):
        yield ("smtp_url",), wrong, ("smtp_password",)
    if notify.mail_from is None or not notify.mail_to:
        yield ("smtp_url",), "needs notify.mail_from and notify.mail_to", ("mail_from", "mail_to")
    if notify.mail_from is not None and not _MAILBOX.fullmatch(notify.mail_from):
        yield ("mail_from",), "must be one address, such as convoq@example.com", ()
    for index, address in enumerate(notify.mail_to):
        if not _MAILBOX.fullmatch(address):
            yield ("mail_to", index), "must be one address, such as marta@example.com", ()


def _wrong_server(url: str, *, has_password: bool) -> str | None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.path in ("", "/")
        _ = parts.port
    except ValueError:
        is_right = False
    if not is_right or any(map(str.isspace, url)):
        return "must be smtps://USER@HOST:PORT, or smtp:// for STARTTLS"
    if parts.password is not None:
        return "must not hold a password: that is notify.smtp_password"
    if (parts.username is not None) != has_password:
        return "needs a user name and notify.smtp_password, or neither of them"
    return None
