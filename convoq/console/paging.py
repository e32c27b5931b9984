"""Pages of lists: where the next one begins is for the API alone to read."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from convoq.console.endpoints import Document
from convoq.console.problems import invalid

LARGEST: Final = 2**63 - 1


class ListPage(Document):
    """A page of a list."""

    next: str | None = Field(description="For `before`: the page after this one")
    more: bool


def place(*numbers: int) -> str:
    return urlsafe_b64encode(json.dumps(numbers).encode()).decode().rstrip("=")


def read_place(before: str | None, length: int) -> Sequence[int] | None:
    """Raises Problem for what no page has said."""
    if before is None:
        return None
    try:
        found = json.loads(urlsafe_b64decode(before.encode() + b"=" * (-len(before) % 4)))
    except (ValueError, RecursionError):
        found = None
    numbers = found if isinstance(found, list) else []
    if len(numbers) != length or not all(type(one) is int and 0 <= one <= LARGEST for one in numbers):
        raise invalid("before", "is no `next` of a page of this list")
    return numbers


def page(document: Mapping[str, Any], next_place: str | None) -> dict[str, Any]:
    """The document of a command's list, whose own word for the next page goes."""
    rest = {name: value for name, value in document.items() if name != "next_before"}
    return {**rest, "next": next_place, "more": next_place is not None}
