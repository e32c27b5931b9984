"""Every error that convoq raises on purpose, in one tree."""

from __future__ import annotations


class ConvoqError(Exception):
    """Something went wrong that convoq knows about."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class ConfigError(ConvoqError):
    """The configuration cannot be used."""

    exit_code = 78


class DatabaseRefused(ConvoqError):
    """The database file must not be used: newer, corrupt, replaced or on a network filesystem."""

    exit_code = 78


class DatabaseUnavailable(ConvoqError):
    """The database could not be written just now: locked by somebody else, full, or failing."""

    exit_code = 75


class LeaseLost(ConvoqError):
    """The claim is no longer ours: its lease ran out and somebody else may hold the lane."""


class Unsupported(ConvoqError):
    """This queue backend does not have the capability that was asked for."""

    exit_code = 2


# What a handler may raise to say how its job ends. Anything else it raises means: retry with backoff.


class RetryLater(ConvoqError):
    """Try again after `delay` seconds; costs an attempt."""

    def __init__(self, delay: float, reason: str | None = None) -> None:
        super().__init__(reason or f"retry in {delay:g} s")
        self.delay = delay


class Snooze(ConvoqError):
    """Not yet: come back after `delay` seconds; costs no attempt."""

    def __init__(self, delay: float, reason: str | None = None) -> None:
        super().__init__(reason or f"snoozed for {delay:g} s")
        self.delay = delay


class Unrecoverable(ConvoqError):
    """No retry can help: bury the job in the dead letters with this reason."""
