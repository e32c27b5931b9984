"""How long a failing model is left alone."""

from __future__ import annotations

from convoq.ai.outage import LONGEST, LONGEST_RETRY_AFTER, SHORTEST, Outage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_grow_with_the_outage_up_to_a_limit() -> None:
    clock = Clock()
    outage = Outage(clock)
    waits = []
    for _ in range(8):
        waits.append(outage.failed(None))
        clock.now += waits[-1]
    assert waits == [SHORTEST, 10.0, 20.0, 40.0, 80.0, LONGEST, LONGEST, LONGEST]


def test_many_failures_at_once_do_not_stretch_the_wait() -> None:
    outage = Outage(Clock())
    assert {outage.failed(None) for _ in range(20)} == {SHORTEST}


def test_what_the_provider_says_comes_first_within_reason() -> None:
    outage = Outage(Clock())
    assert outage.failed(33.0) == 33.0
    assert outage.failed(0.0) == 1.0
    assert outage.failed(1e9) == LONGEST_RETRY_AFTER


def test_rests_until_the_wait_is_over_or_it_answers() -> None:
    clock = Clock()
    outage = Outage(clock)
    seen = [outage.resting]
    outage.failed(None)
    seen.append(outage.resting)
    clock.now += SHORTEST
    seen.append(outage.resting)
    outage.failed(None)
    outage.ended()
    seen.append(outage.resting)
    assert seen == [False, True, False, False]
    assert outage.failed(None) == SHORTEST
