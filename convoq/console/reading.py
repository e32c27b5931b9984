"""Reads what a request says, strictly: what two programs could read in two ways is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_origin
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import BaseModel, ValidationError

from convoq.api.body import media_type_of, read_body
from convoq.api.connections import Limits
from convoq.channels.base import WebhookRefused
from convoq.console.problems import Problem, all_invalid
from convoq.text import printable

JSON: Final = "application/json"
MOST_PARAMETERS: Final = 50
LONGEST_KEY: Final = 255

_OF_STATUS: Final = {408: "timeout", 413: "too-large", 415: "media-type"}
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_KEY}}}")
_VERSION: Final = re.compile(r'"([0-9]{1,18})"')
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_json(request: web.Request, model: type[ModelT], limits: Limits) -> ModelT:
    """The body as the model has it. Raises Problem. Nothing at all is an empty object."""
    try:
        if request.can_read_body:
            media_type_of(request, (JSON,))
        content = await read_body(request, limits)
    except WebhookRefused as refused:
        raise Problem(_OF_STATUS.get(refused.status, "malformed"), refused.reason) from None
    return validated(model, parse_object(content) if content else {}, strict=True)


def parse_object(content: bytes) -> dict[str, Any]:
    """Raises Problem."""
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_refuse_constant)
        json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate is no text
    except UnicodeEncodeError:
        raise Problem("malformed", "the body holds half a character (a lone surrogate)") from None
    except UnicodeDecodeError as error:
        raise Problem("malformed", f"the body is not UTF-8 (byte {error.start + 1})") from None
    except RecursionError:
        raise Problem("malformed", "the body is nested too deeply") from None
    except ValueError as error:
        raise Problem("malformed", f"the body is no JSON: {printable(str(error))[:200]}") from None
    if not isinstance(found, dict):
        raise Problem("malformed", "the body is not a JSON object")
    _refuse_nul(found)
    return found


def read_query(request: web.Request, model: type[ModelT]) -> ModelT:
    """The parameters as the model has them. Raises Problem for any other, and for one that comes twice."""
    raw = request.raw_path.partition("?")[2].partition("#")[0]
    if _ESCAPE.search(raw):
        raise Problem("malformed", "the query holds a % that escapes nothing")
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise Problem("malformed", f"the query is not UTF-8, or has more than {MOST_PARAMETERS} parameters") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        if not value.isprintable():
            raise all_invalid([(printable(name)[:40], "holds what cannot be seen")])
        if is_list(model, name):
            found.setdefault(name, []).append(value)
        elif name in found:
            raise all_invalid([(printable(name)[:40], "is there twice")])
        else:
            found[name] = value
    return validated(model, found, strict=False)


def is_list(model: type[BaseModel], name: str) -> bool:
    """Whether the parameter may come several times."""
    field = model.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is tuple


def validated(model: type[ModelT], found: dict[str, Any], *, strict: bool) -> ModelT:
    """Raises Problem that names each field."""
    try:
        return model.model_validate(found, strict=strict) if not strict else model.model_validate_json(_dumped(found))
    except ValidationError as error:
        raise all_invalid([(_place(one["loc"]), one["msg"]) for one in error.errors()[:20]]) from None


def read_key(request: web.Request, *, required: bool) -> str | None:
    """The Idempotency-Key. Raises Problem."""
    given = request.headers.getall("Idempotency-Key", [])
    if not given and required:
        raise Problem("key-missing", "send a new Idempotency-Key with each message, and the same one to repeat it")
    if len(given) > 1 or (given and _KEY.fullmatch(given[0]) is None):
        raise Problem("malformed", f"an Idempotency-Key is 1 to {LONGEST_KEY} visible ASCII characters, and there once")
    return given[0] if given else None


def read_version(request: web.Request) -> int | None:
    """The If-Match: an owner's version; None for "*". Raises Problem."""
    given = request.headers.getall("If-Match", [])
    if not given:
        raise Problem("version-missing", 'send If-Match: "N" with the owner_version that you have seen, or *')
    if given == ["*"]:
        return None
    found = _VERSION.fullmatch(given[0].strip())
    if found is None or len(given) > 1:
        raise Problem("malformed", 'If-Match is one owner_version in quotation marks, such as "3", or *')
    return int(found[1])


def _dumped(found: dict[str, Any]) -> str:
    return json.dumps(found)


def _place(path: Sequence[int | str]) -> str:
    return printable(".".join(map(str, path)))[:80] or "the body"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
        raise ValueError(f'"{twice[:40]}" is there twice')
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _refuse_nul(value: Any) -> None:
    """No text of a database's holds it, and no person types it."""
    match value:
        case str() if "\0" in value:
            raise Problem("malformed", "the body holds a NUL character")
        case dict():
            for name, item in value.items():
                _refuse_nul(name)
                _refuse_nul(item)
        case list():
            for item in value:
                _refuse_nul(item)
        case _:
            return
