"""The webhook: one signed POST for each notification, the way that Standard Webhooks describes."""

from __future__ import annotations

import email.utils
import json
import math
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr
from yarl import URL

from convoq.conversations.notifications import Notification
from convoq.notify.addresses import PrivateAddress, is_public, public_socket
from convoq.notify.base import Taken, TargetFailed
from convoq.notify.documents import document
from convoq.notify.signing import signature
from convoq.outbound import proxy_for, tls_context
from convoq.settings.notify import NotifySettings, signing_key
from convoq.text import printable

WEBHOOK: Final = "webhook"
MOST_READ: Final = 65_536  #: bytes of an answer
MOST_SHOWN: Final = 200  #: characters of it
LONGEST_RETRY_AFTER: Final = 6 * 3600.0


class Webhook:
    """Follows no redirect, connects to no private address unless told to, and reads little of what comes back."""

    name = WEBHOOK

    def __init__(self, settings: NotifySettings, url: SecretStr, secret: SecretStr) -> None:
        """Raises ConfigError when the environment names a proxy or certificates that cannot be used."""
        self._settings = settings
        self._url = url.get_secret_value()
        self._key = signing_key(secret.get_secret_value())
        self._proxy = proxy_for(self._url)
        self._session: aiohttp.ClientSession | None = None

    @property
    def where(self) -> str:
        return urlsplit(self._url).hostname or ""

    @property
    def wants_texts(self) -> bool:
        return self._settings.texts

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, notification: Notification) -> Taken:
        body = json.dumps(document(notification, self._settings), ensure_ascii=False).encode()
        try:
            return await self._post(notification.message_id, body)
        except TimeoutError:
            raise TargetFailed(f"{self.where} gave no answer within {self._settings.timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise TargetFailed(self._told(error)) from error

    async def _post(self, message_id: str, body: bytes) -> Taken:
        self._require_public()
        timestamp = int(time.time())
        async with self._opened().post(
            URL(self._url, encoded=True),
            data=body,
            headers={
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signature(self._key, message_id, timestamp, body),
            },
            allow_redirects=False,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers if self._proxy else None,
        ) as response:
            answer = await _read(response)
            response.close()  # the rest of it is not waited for
        if 200 <= response.status < 300:
            return Taken(f"HTTP {response.status}{answer}")
        raise self._refused(response, answer)

    def _refused(self, response: aiohttp.ClientResponse, answer: str) -> TargetFailed:
        status = response.status
        if 300 <= status < 400:
            return TargetFailed(f"{self.where} redirects (HTTP {status}), which is not followed: mend notify.url")
        return TargetFailed(
            f"{self.where} refused it with HTTP {status}{answer}",
            is_refusal=400 <= status < 500 and status not in (408, 425, 429),
            is_gone=status == 410,
            retry_after=_seconds(response.headers.get("Retry-After")) if status in (429, 503) else None,
        )

    def _require_public(self) -> None:
        """An address in the URL itself; what a name leads to is seen when it is connected to, or by the proxy."""
        if self._settings.allow_private or self._proxy is None:
            return
        try:
            public = is_public(self.where)
        except ValueError:
            return
        if not public:
            raise TargetFailed(f"{self.where} is no public address: notify.allow_private lets url lead there")

    def _told(self, error: aiohttp.ClientError) -> str:
        """Without the URL, which may hold a key."""
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, PrivateAddress):
            return f"{self.where} is refused: {cause}"
        if isinstance(cause, ssl.SSLError):
            return f"{self.where}: its certificate is not believed: {cause.reason}"
        return f"{self.where} cannot be reached: {type(cause).__name__}: {getattr(cause, 'strerror', None) or ''}"

    def _opened(self) -> aiohttp.ClientSession:
        # At the first request: a session is its loop's, and most workers tell nothing for hours.
        if self._session is None:
            guard = None if self._settings.allow_private or self._proxy else public_socket
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls_context(), force_close=True, socket_factory=guard),
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> str:
    """The beginning of what it says, for people; what takes longer than it may is left."""
    received = bytearray()
    try:
        async for chunk in response.content.iter_any():
            received += chunk
            if len(received) >= MOST_READ:
                break
    except (TimeoutError, aiohttp.ClientError):
        pass  # the status says what became of it
    text = " ".join(printable(received[:MOST_READ].decode(errors="replace")).split())[:MOST_SHOWN]
    return f": {text}" if text else ""


def _seconds(value: str | None) -> float | None:
    """What Retry-After asks for, in seconds or as a date."""
    if value is None:
        return None
    try:
        asked = float(value)
    except ValueError:
        try:
            asked = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(asked, 1.0), LONGEST_RETRY_AFTER) if math.isfinite(asked) else None
