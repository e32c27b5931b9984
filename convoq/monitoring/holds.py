"""The JSON document of what a rule holds back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convoq.text import iso_time

if TYPE_CHECKING:
    from convoq.conversations.holding import Hold


def hold_document(hold: Hold) -> dict[str, Any]:
    return {**hold._asdict(), "since": iso_time(hold.since), "until": iso_time(hold.until)}
