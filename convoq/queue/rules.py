"""What every engine does alike: the numbers of the contract, and what a job must be to be stored."""

from __future__ import annotations

from typing import Final

from convoq.jobs import NewJob

LARGEST_CLAIM: Final = 32  # jobs of a kind that is run together; the rest of a longer burst comes with the next claim
ALONE_FROM_ATTEMPT: Final = 3  # a job that failed this often is claimed without its neighbours
CRASHES_FADE_MS: Final = 600_000  # after the last one, from which on a lane is as good as any other
DEDUP_RETENTION_MS: Final = 30 * 86_400_000
SEARCHED_OF_LANE: Final = 100  # its last jobs: one more wake-up costs less than to look through a long lane
CLOCK_LAG_MS: Final = 600_000  # between the moment that a job is dated and its commit: far longer than any waits


def require_unicode(job: NewJob) -> None:
    """Raises ValueError."""
    for text in (job.kind, job.payload, job.ordering_key, job.dedup_key, job.waiting_key):
        # Whether it is ASCII costs nothing to ask; only a lone surrogate fails to encode.
        if text is not None and not text.isascii():
            text.encode()
