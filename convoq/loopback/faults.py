"""Every way in which a request to the loopback Twilio or the loopback model goes wrong."""

from __future__ import annotations

import enum
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioFault:
    """One way in which a REST request goes wrong. `accepts` says whether the message is taken all the same."""

    accepts: bool
    answer: Literal["error", "reset", "hang", "garbage", "normal"]
    status: int = 500
    code: int | None = 20500
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  #: seconds before the answer
    on: Literal["create", "read"] = "create"  #: POST of a message, or any GET


def too_many(retry_after: str | None = "1") -> TwilioFault:
    """429, never processed."""
    headers = {"Retry-After": retry_after} if retry_after is not None else {}
    return TwilioFault(accepts=False, answer="error", status=429, code=20429, headers=headers)


def refused(code: int, status: int = 400) -> TwilioFault:
    """A plain refusal with this code, e.g. refused(21610) or refused(20003, 401)."""
    return TwilioFault(accepts=False, answer="error", status=status, code=code)


def error(*, accepted: bool, status: int = 500) -> TwilioFault:
    """A 5xx, before or after the message was taken."""
    return TwilioFault(accepts=accepted, answer="error", status=status)


def reset(*, accepted: bool = True) -> TwilioFault:
    """The connection is reset instead of an answer."""
    return TwilioFault(accepts=accepted, answer="reset")


def hang(*, accepted: bool = True) -> TwilioFault:
    """No answer, ever."""
    return TwilioFault(accepts=accepted, answer="hang")


def garbage(*, accepted: bool = True) -> TwilioFault:
    """A 2xx with a page of HTML, as a proxy gives it."""
    return TwilioFault(accepts=accepted, answer="garbage", status=201)


def slow(delay: float) -> TwilioFault:
    """The right answer after `delay` seconds."""
    return TwilioFault(accepts=True, answer="normal", delay=delay)


class ModelFault(enum.StrEnum):
    """What goes wrong with one answer of a loopback model."""

    HANG = "hang"  #: never answers
    SLOW = "slow"  #: answers well, after `delay` seconds
    DRIP = "drip"  #: a byte each 100 ms, so that no read timeout ever fires
    RESET = "reset"  #: the connection is reset
    TRUNCATED = "truncated"  #: the body ends before its announced length
    GARBAGE = "garbage"  #: 200 with JSON that is none
    WRONG_TYPES = "wrong_types"  #: 200 with valid JSON of the wrong shape
    HTML = "html"  #: 200 with a web page
    UTF16 = "utf16"  #: 200 with JSON in UTF-16, which clients may well read
    HUGE = "huge"  #: 200 with 20 MB that never become an answer
    COMPRESSED = "compressed"  #: 200, gzip that was not asked for
    EMPTY = "empty"  #: an answer without text
    CUT = "cut"  #: the token limit ended the answer
    PAUSE = "pause"  #: Anthropic's alone: the turn is paused, and goes on with the next request
    REFUSAL = "refusal"  #: the model refuses
    UNAUTHORIZED = "unauthorized"  #: 401
    NOT_FOUND = "not_found"  #: 404
    OVERFLOW = "overflow"  #: 400, the context is too long
    NO_TOOLS = "no_tools"  #: 400, as a server says it of a model that takes no tools
    REJECTED = "rejected"  #: 400, for another reason
    RATE_LIMITED = "rate_limited"  #: 429 with Retry-After
    NO_CREDIT = "no_credit"  #: 429 or 400, the account is empty
    SERVER_ERROR = "server_error"  #: 500
    OVERLOADED = "overloaded"  #: 529


def reset_connection(request: web.Request) -> None:
    """Ends the connection with a reset instead of an orderly close."""
    transport = request.transport
    if transport is None:
        return
    # A linger of zero seconds makes close() send RST.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
