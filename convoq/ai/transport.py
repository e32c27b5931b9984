"""Carries the requests of the vendors' SDKs over one aiohttp session, as Twilio's are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import httpx2
from yarl import URL

from convoq.outbound import proxy_for, tls_context

# As many as a worker's concurrency can be. What the pool does not keep costs the next turn a TLS handshake.
MOST_CONNECTIONS: Final = 256
KEPT_IDLE: Final = 5.0  #: seconds; idle connections end by themselves


class CutShort(httpx2.RemoteProtocolError):
    """The connection was lost when its answer had begun."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends each request the way that its address takes; httpx2's own reading of the environment knows no loopback.

    Its own pool looks at every connection for each request and again after it, which at 200 connections costs more than
    the rest of a turn. aiohttp's knows which are free.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        limits = request.extensions.get("timeout", {})
        proxy = proxy_for(str(request.url))
        with _translated(request):
            response = await self._opened().request(
                request.method,
                URL(str(request.url), encoded=True),
                data=await request.aread(),
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy.headers if proxy else None,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=limits.get("pool"), sock_connect=limits.get("connect"),
                    sock_read=limits.get("read"),
                ),
            )  # fmt: skip
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        # At the first request: a session is its loop's, and the transport is built in a thread.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls_context(), limit=MOST_CONNECTIONS, keepalive_timeout=KEPT_IDLE),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            with _translated(self._request):
                async for chunk in self._response.content.iter_any():
                    yield chunk
        except (httpx2.ReadError, httpx2.RemoteProtocolError) as error:
            raise CutShort(str(error), request=self._request) from error

    async def aclose(self) -> None:
        # One that was read to its end has given its connection back.
        self._response.close()


@contextmanager
def _translated(request: httpx2.Request) -> Iterator[None]:
    """What the SDKs understand, instead of aiohttp's errors."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx2.ConnectTimeout(str(error), request=request) from error
    except TimeoutError as error:
        raise httpx2.ReadTimeout(str(error), request=request) from error
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
        raise httpx2.ProxyError(str(error), request=request) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise httpx2.ConnectError(str(error), request=request) from error.certificate_error
    except aiohttp.ClientConnectorError as error:
        raise httpx2.ConnectError(str(error), request=request) from error
    except aiohttp.InvalidURL as error:
        raise httpx2.UnsupportedProtocol(str(error), request=request) from error
    except aiohttp.ClientConnectionError as error:
        raise httpx2.ReadError(str(error), request=request) from error
    except aiohttp.ClientError as error:
        raise httpx2.RemoteProtocolError(str(error), request=request) from error
