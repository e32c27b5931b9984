"""What an act's refusal is to a program: a problem that says what can be done instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from convoq.console.problems import Problem
from convoq.conversations.ownership import ActRefused

_PROBLEMS: Final[Mapping[str, str]] = {
    "not_owner": "owned", "stale": "stale", "closed": "closed", "opted_out": "opted-out", "blocked": "blocked",
    "erased": "erased", "window": "window-closed", "paused": "paused", "text": "text", "template": "template",
    "unchanged": "unchanged", "operator": "operator", "token": "unauthorized", "key_reused": "key-reused",
}  # fmt: skip
_CAN: Final[Mapping[str, tuple[str, ...]]] = {
    "not_owner": ("force",), "blocked": ("unblock",), "window": ("template",), "paused": ("resume",),
}  # fmt: skip


def problem_of(refused: ActRefused, expected: Collection[str]) -> Problem:
    """`expected`: the problems of the endpoint. To write for a colleague is against a rule; to take, a conflict."""
    code = _PROBLEMS[refused.code]
    if refused.code == "not_owner" and "not-the-owner" in expected:
        code = "not-the-owner"
    can = list(_CAN.get(refused.code, ())) or None
    owner = refused.conversation
    if owner is None:
        return Problem(code, str(refused), can=can)
    return Problem(
        code, str(refused), can=can,
        owner=str(owner.owner), owner_name=owner.owner_name, owner_version=owner.owner_version,
    )  # fmt: skip
