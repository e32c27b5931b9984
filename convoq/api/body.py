"""Reads a webhook's body as form fields, within bounds, and refuses everything else with a 4xx."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from aiohttp import web

from convoq.api.limits import Limits
from convoq.channels.twilio.form import MAX_FIELDS, parse_form

Fields = list[tuple[str, str]]

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


class Refused(Exception):
    """The request is answered with this 4xx, and its reason as text."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


async def read_webhook(request: web.Request, limits: Limits) -> tuple[bytes, Fields | None, Fields]:
    """The raw body, the fields that its signature covers (None: JSON, whose hash is in the URL), and all fields.

    Raises Refused: 400, 408, 413 or 415.
    """
    media_type = _media_type(request)
    body = await _read_body(request, limits)
    if media_type == JSON:
        return body, None, _parse_json(body)
    try:
        fields = parse_form(body)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    return body, fields, fields


def _media_type(request: web.Request) -> str:
    header = request.headers.get("Content-Type", "")
    if header == FORM:
        return FORM
    name, _, parameters = header.partition(";")
    media_type = name.strip().lower()
    if media_type not in (FORM, JSON):
        raise Refused(415, f"send {FORM}")
    for parameter in filter(None, map(str.strip, parameters.lower().split(";"))):
        if parameter.replace('"', "") not in ("charset=utf-8", "charset=utf8"):
            raise Refused(415, f"send {media_type} in UTF-8 and without other parameters")
    return media_type


async def _read_body(request: web.Request, limits: Limits) -> bytes:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Refused(415, "send the body without a Content-Encoding")
    if (request.content_length or 0) > limits.body:
        raise Refused(413, f"the body may have {limits.body} bytes")
    content = request.content
    try:
        if content.is_eof():
            return _within(content.read_nowait(), limits)
        async with asyncio.timeout(limits.body_time):
            return await _read_to_end(request, limits)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {limits.body_time:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refused(400, "the body is broken or incomplete") from None


async def _read_to_end(request: web.Request, limits: Limits) -> bytes:
    body = b""
    while chunk := await request.content.readany():
        body = _within(body + chunk, limits)
    return body


def _within(body: bytes, limits: Limits) -> bytes:
    if len(body) > limits.body:
        raise Refused(413, f"the body may have {limits.body} bytes")
    return body


def _parse_json(body: bytes) -> Fields:
    try:
        content = json.loads(body.decode(), object_pairs_hook=list, parse_constant=_no_constant)
        fields = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in content]
        for name, value in fields:
            (name + value).encode()  # \ud800 alone is a JSON string but no text
    except (ValueError, TypeError, RecursionError):
        raise Refused(400, "the body is not one flat JSON object in UTF-8") from None
    if len(fields) > MAX_FIELDS:
        raise Refused(400, f"more than {MAX_FIELDS} fields")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(name)
