"""Answers the people who write to a company's Twilio number with an AI, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convoq.client import Client, connect
    from convoq.errors import RetryLater, Snooze, Unrecoverable
    from convoq.handlers.custom import JobContext

__version__ = "0.1.0"

__all__ = ["Client", "JobContext", "RetryLater", "Snooze", "Unrecoverable", "__version__", "connect"]

_HOMES = {
    "Client": "convoq.client",
    "connect": "convoq.client",
    "JobContext": "convoq.handlers.custom",
    "RetryLater": "convoq.errors",
    "Snooze": "convoq.errors",
    "Unrecoverable": "convoq.errors",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: `convoq version` needs none of it.
    if name not in _HOMES:
        raise AttributeError(f"module 'convoq' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
