"""Which jobs are meant, in an operator's words."""

from __future__ import annotations

from collections.abc import Sequence

from convoq.queue.base import JobFilter, JobState, Standing


def job_filter(
    *, ids: Sequence[str] = (), standings: Sequence[Standing] = (), states: Sequence[JobState] = (),
    kinds: Sequence[str] = (), lane: str | None = None, text: str | None = None, since: int | None = None,
) -> JobFilter:  # fmt: skip
    """`states` are meant where no standing is given; `since` is ms on the queue's clock."""
    of_standings = tuple(dict.fromkeys(standing.state for standing in standings))
    # Ready, scheduled and running are one state: told apart, they are slower to find.
    split = JobState.READY in of_standings
    return JobFilter(
        ids=tuple(ids) or None,
        kinds=tuple(kinds) or None,
        states=of_standings or tuple(states) or None,
        standings=tuple(standings) if split else None,
        since=since,
        ordering_key=lane,
        text=text,
    )
