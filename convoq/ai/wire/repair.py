"""An answer as its dialect has it, out of what a server sent: it is read for its text, not for its form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from convoq.ai.wire import anthropic, openai
from convoq.ai.wire.errors import Unreadable, kind_of, sentence
from convoq.ai.wire.events import read_events
from convoq.text import counted

Json = dict[str, Any]


class Joined(Protocol):
    def __call__(self, events: list[Json], *, done: bool) -> Json: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API's answers are repaired."""

    joined: Joined  #: the answer that the events of a stream add up to
    repaired: Callable[[Json], Json]
    error_in: Callable[[Json], object]


# By the end of the request's path: a gateway may put anything before it.
DIALECTS: Final[Mapping[str, Dialect]] = {
    "/chat/completions": Dialect(openai.joined, openai.repaired, openai.error_in),
    "/messages": Dialect(anthropic.joined, anthropic.repaired, anthropic.error_in),
}

#: What the errors of both dialects would have had for a status.
_STATUSES: Final = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "billing_error": 402,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
}


def dialect_of(path: str) -> Dialect | None:
    return next((dialect for end, dialect in DIALECTS.items() if path.endswith(end)), None)


def repair(dialect: Dialect, body: bytes) -> tuple[int, Json]:
    """The status and the answer that the server meant by the body of a 2xx. Raises Unreadable, which names the field.

    Nothing that is not needed to answer has to be there: ids, counts, roles and names of objects are filled in. An
    event stream is read to its end, and an error that came with a 200 gets the status it should have had.
    """
    answer = _read(dialect, body)
    if error := dialect.error_in(answer):
        return _status(error), {"type": "error", "error": error if isinstance(error, dict) else {"message": str(error)}}
    try:
        return 200, dialect.repaired(answer)
    except Unreadable as unreadable:
        said = sentence({name: answer.get(name) for name in ("message", "detail")})
        raise Unreadable(f"{unreadable}; it says: {said}" if said else str(unreadable)) from None


def _read(dialect: Dialect, body: bytes) -> Json:
    if (stream := read_events(body)) is not None:
        error = next((event for event in stream.events if event.get("error")), None)
        return error or dialect.joined(stream.events, done=stream.done)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable(f"it is no JSON ({counted(len(body), 'byte')})") from None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise Unreadable(f"it is {kind_of(answer)}, not a JSON object")
    return answer


def _status(error: object) -> int:
    named = [error.get(name) for name in ("code", "status", "type")] if isinstance(error, dict) else []
    for name in named:
        if isinstance(name, str) and name.isdecimal():
            name = int(name)
        if isinstance(name, int) and 400 <= name < 600:
            return name
        if isinstance(name, str) and name in _STATUSES:
            return _STATUSES[name]
    return 500
