"""Reads a webhook's body within bounds, and refuses everything else with a 4xx."""

from __future__ import annotations

import asyncio

from aiohttp import web

from convoq.api.connections import Limits
from convoq.channels.base import WebhookRefused


def media_type_of(request: web.Request, accepted: tuple[str, ...]) -> str:
    """The accepted media type that the body has, in UTF-8. Raises WebhookRefused: 415."""
    header = request.headers.get("Content-Type", "")
    if header in accepted:
        return header
    name, _, parameters = header.partition(";")
    media_type = name.strip().lower()
    if media_type not in accepted:
        raise WebhookRefused(415, f"send {accepted[0]}")
    for parameter in filter(None, map(str.strip, parameters.lower().split(";"))):
        if parameter.replace('"', "") not in ("charset=utf-8", "charset=utf8"):
            raise WebhookRefused(415, f"send {media_type} in UTF-8 and without other parameters")
    return media_type


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """Raises WebhookRefused: 400, 408, 413 or 415."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise WebhookRefused(415, "send the body without a Content-Encoding")
    if (request.content_length or 0) > limits.body:
        raise WebhookRefused(413, f"the body may have {limits.body} bytes")
    content = request.content
    try:
        if content.is_eof():
            return _within(content.read_nowait(), limits)
        async with asyncio.timeout(limits.body_time):
            return await _read_to_end(request, limits)
    except TimeoutError:
        raise WebhookRefused(408, f"the body did not come within {limits.body_time:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise WebhookRefused(400, "the body is broken or incomplete") from None


async def _read_to_end(request: web.Request, limits: Limits) -> bytes:
    body = b""
    while chunk := await request.content.readany():
        body = _within(body + chunk, limits)
    return body


def _within(body: bytes, limits: Limits) -> bytes:
    if len(body) > limits.body:
        raise WebhookRefused(413, f"the body may have {limits.body} bytes")
    return body
