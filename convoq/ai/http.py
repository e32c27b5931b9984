"""The one HTTP client that model requests share: pooled, with a limit on what an answer may weigh, and tolerant of
servers that do not write it quite as their dialect has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from convoq.ai.transport import AiohttpTransport
from convoq.ai.wire.errors import Unreadable
from convoq.ai.wire.repair import dialect_of, repair
from convoq.outbound import check_environment

CONNECT_TIMEOUT: Final = 5.0

# A long reply is a few kilobytes; what is larger by far is not one.
LARGEST_ANSWER_BYTES: Final = 2 * 1024 * 1024


def open_client(timeout: float) -> httpx2.AsyncClient:
    """A client that reads what a model says from any form that holds it. The caller closes it.

    What cannot be read, or is larger than LARGEST_ANSWER_BYTES, is refused with Unreadable.

    Raises ConfigError when the environment names a proxy or certificates that cannot be used.
    """
    check_environment()
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout, connect=CONNECT_TIMEOUT),
        transport=AiohttpTransport(),
        # Unasked for, a compressed answer is refused: a few bytes of it could unfold into gigabytes.
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [_limit_body, _repair_body]},
    )


async def _limit_body(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unreadable("it is compressed, which was not asked for")
    stream = response.stream
    assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101  # an async client has no other kind
    response.stream = _LimitedStream(stream)


async def _repair_body(response: httpx2.Response) -> None:
    dialect = dialect_of(response.request.url.path)
    if dialect is None or not response.is_success:
        return
    stream = response.stream
    assert isinstance(stream, _LimitedStream)  # noqa: S101  # the hook before this one made it
    body = b"".join([chunk async for chunk in stream])
    await stream.aclose()
    response.status_code, answer = repair(dialect, body)
    # A model that answers in events, or as text/plain, is not asked for another form: what it said is here.
    response.headers["Content-Type"] = "application/json"
    response.stream = httpx2.ByteStream(json.dumps(answer).encode())


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_ANSWER_BYTES:
                raise Unreadable(f"it is larger than {LARGEST_ANSWER_BYTES // 1024**2} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
