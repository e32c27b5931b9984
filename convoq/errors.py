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


class PlatformUnsupported(ConvoqError):
    """This system lacks what convoq needs."""

    exit_code = 78


class DatabaseRefused(ConvoqError):
    """The database file must not be used: newer, corrupt, replaced or on a network filesystem."""

    exit_code = 78


class DatabaseUnavailable(ConvoqError):
    """The database could not be written just now: locked by another program, full, or failing."""

    exit_code = 75


class LeaseLost(ConvoqError):
    """The claim is no longer ours: its lease ran out and another worker may hold the lane."""


class Fenced(ConvoqError):
    """Another turn of this thread has begun since: this one may not write any more."""


# What a handler may raise to say how its job ends. Anything else it raises means: retry with backoff.


class RetryLater(ConvoqError):
    """Try again after `delay` seconds; costs an attempt."""

    def __init__(self, delay: float, reason: str | None = None) -> None:
        self.delay = _bounded(delay)
        super().__init__(reason or f"retry in {self.delay:g} s")


class Snooze(ConvoqError):
    """Not yet: come back after `delay` seconds; costs no attempt."""

    def __init__(self, delay: float, reason: str | None = None) -> None:
        self.delay = _bounded(delay)
        super().__init__(reason or f"snoozed for {self.delay:g} s")


class Unrecoverable(ConvoqError):
    """No retry can help: bury the job in the dead letters with this reason."""


SHORTEST_WAIT = 0.001
LONGEST_WAIT = 30 * 86_400.0
NO_WAIT = 1.0  # what stands for no wait at all: a job that is due again at once would spin


def _bounded(delay: float) -> float:
    """Any number of seconds that a handler may come up with as a wait: nothing, less and NaN are a second."""
    return min(delay, LONGEST_WAIT) if delay >= SHORTEST_WAIT else NO_WAIT  # NaN is not greater than anything
