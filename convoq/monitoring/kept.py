"""What is kept how long, as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoq.text import counted

if TYPE_CHECKING:
    from convoq.settings import Options


def describe_kept(options: Options) -> str:
    """In one line."""
    given = options.retention
    named = (("texts", given.texts_days), ("notes", given.notes_days), ("audit", given.audit_days))
    told = [f"{what} {'for ever' if days is None else counted(days, 'day')}" for what, days in named]
    return ", ".join([*told, f"finished jobs {options.queue.retention / 86_400:.3g} days"])
