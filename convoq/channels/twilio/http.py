"""Carries the twilio SDK's requests over one aiohttp session: one try each, a total timeout, bounded answers."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from yarl import URL

from convoq.channels.twilio.errors import Refused, Unreadable
from convoq.outbound import proxy_for, tls_context

LARGEST_ANSWER_BYTES: Final = 1 << 20
_TWILIO: Final = "https://api.twilio.com/"
_CONTENT: Final = "https://content.twilio.com/"
_CONNECT_TIMEOUT: Final = 5.0  # a request without a connection was certainly not sent


class HttpClient(AsyncHttpClient):  # type: ignore[misc]  # twilio ships no types
    """Asks once and tells the truth: nothing is sent twice, nothing hangs, and errors keep their headers.

    Raises Refused for an HTTP error, Unreadable for an answer that is none, aiohttp.ClientError and TimeoutError for
    the network. The SDK's own client has no timeout and sends a POST again.
    """

    def __init__(self, *, base_url: str, timeout: float) -> None:
        """Raises ConfigError when the environment names a proxy or certificates that cannot be used."""
        # The SDK's own set-up is left out: it adds a logger that writes phone numbers.
        self.is_async = True
        self.timeout = timeout
        self._base_url = base_url.rstrip("/") + "/"
        self._proxy = proxy_for(base_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls_context()),
            timeout=aiohttp.ClientTimeout(total=timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002  the SDK's signature; the session's timeout is the one that holds
        allow_redirects: bool = False,  # noqa: ARG002  a redirect would carry the credentials elsewhere
    ) -> Any:
        # In UTF-8: aiohttp's own Basic authentication is latin-1.
        authorization = {"Authorization": f"Basic {b64encode(':'.join(auth).encode()).decode()}"} if auth else {}
        async with self._session.request(
            method,
            self._url(uri, params),
            data=_encoded(data).encode() if data else None,
            headers={**(headers or {}), **authorization},
            allow_redirects=False,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers if self._proxy else None,
        ) as response:
            text = await _read(response)
            if response.status >= 400:
                raise _refused(response, text)
            if not isinstance(_json(text), dict):
                raise Unreadable(f"HTTP {response.status} without a JSON object")
            return Response(response.status, text, response.headers)

    def _url(self, uri: str, params: Mapping[str, object] | None) -> URL:
        if uri.startswith(_CONTENT) and self._base_url == _TWILIO:
            url = uri
        elif uri.startswith((_TWILIO, _CONTENT)):  # another base is one host for all of them
            url = self._base_url + uri.removeprefix(_TWILIO).removeprefix(_CONTENT)
        else:
            raise ValueError(f"credentials are for {_TWILIO} and {_CONTENT} alone")
        return URL(f"{url}?{_encoded(params)}" if params else url, encoded=True)


def _encoded(fields: Mapping[str, object]) -> str:
    return urlencode(list(fields.items()), doseq=True)


async def _read(response: aiohttp.ClientResponse) -> str:
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > LARGEST_ANSWER_BYTES:
            raise Unreadable(f"HTTP {response.status} with more than {LARGEST_ANSWER_BYTES} bytes")
    return received.decode(errors="replace")


def _refused(response: aiohttp.ClientResponse, text: str) -> Refused:
    """Twilio has two error formats: its own (message) and RFC 9457 (title, detail); a proxy has neither."""
    answer = _json(text)
    fields = answer if isinstance(answer, dict) else {}
    code = fields.get("code")
    message = next((str(fields[name]) for name in ("message", "detail", "title") if fields.get(name)), "no explanation")
    return Refused(
        response.status,
        code if isinstance(code, int) else None,
        f"Twilio refused with HTTP {response.status}: {message[:300]}",
        response.headers.get("Retry-After"),
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
