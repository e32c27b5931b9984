"""How long what fails is left alone, and who asks it next."""

from __future__ import annotations

from convoq.breaker import LONGEST, LONGEST_RETRY_AFTER, SHORTEST, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_grow_with_the_outage_up_to_a_limit() -> None:
    clock = Clock()
    breaker: Breaker[str] = Breaker(clock)
    waits = []
    for _ in range(8):
        waits.append(breaker.failed(1, "down"))
        clock.now += waits[-1]
    assert waits == [2.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, LONGEST]


def test_many_failures_at_once_do_not_stretch_the_wait() -> None:
    breaker: Breaker[str] = Breaker(Clock())
    assert {breaker.failed(1, "down") for _ in range(20)} == {SHORTEST}


def test_what_the_provider_says_comes_first_within_reason() -> None:
    breaker: Breaker[str] = Breaker(Clock())
    assert breaker.failed(1, "down", 33.0) == 33.0
    assert breaker.failed(1, "down", 0.0) == 1.0
    assert breaker.failed(1, "down", 1e9) == LONGEST_RETRY_AFTER


def test_rests_until_the_wait_is_over_or_it_answers() -> None:
    clock = Clock()
    breaker: Breaker[str] = Breaker(clock)
    seen = [breaker.resting]
    breaker.failed(1, "down")
    seen.append(breaker.resting)
    clock.now += SHORTEST
    seen.append(breaker.resting)
    breaker.failed(1, "down")
    breaker.ended()
    seen.append(breaker.resting)
    assert seen == [False, True, False, False]
    assert breaker.failed(1, "down") == SHORTEST


def open_breaker(clock: Clock) -> Breaker[str]:
    breaker: Breaker[str] = Breaker(clock)
    breaker.failed(0, "the key is refused")
    breaker.failed(1, "the key is refused")
    return breaker


def test_everybody_may_ask_what_answers() -> None:
    breaker: Breaker[str] = Breaker(Clock())
    assert {breaker.admit(caller) for caller in range(50)} == {0.0}


def test_what_fails_for_one_caller_may_be_asked_by_all_others() -> None:
    breaker: Breaker[str] = Breaker(Clock())
    breaker.failed(1, "down")
    breaker.failed(1, "down")
    assert breaker.admit(2) == 0.0


def test_what_fails_for_two_callers_is_left_alone() -> None:
    breaker: Breaker[str] = Breaker(Clock())
    breaker.failed(1, "down")
    breaker.failed(2, "down")
    assert breaker.admit(3) == SHORTEST


def test_callers_that_fail_between_successes_close_it_to_none() -> None:
    breaker: Breaker[str] = Breaker(Clock())
    breaker.failed(1, "down")
    breaker.ended()
    breaker.failed(2, "down")
    assert breaker.admit(3) == 0.0


def test_one_at_a_time_asks_what_fails() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    assert {breaker.admit(caller) for caller in range(2, 50)} == {SHORTEST}
    clock.now += SHORTEST
    assert [breaker.admit(caller) for caller in range(2, 6)] == [0.0, SHORTEST, SHORTEST, SHORTEST]


def test_a_caller_that_has_failed_leaves_the_probe_to_one_that_has_not() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    breaker.admit(2)
    clock.now += SHORTEST
    assert [breaker.admit(1), breaker.admit(2)] == [SHORTEST, 0.0]


def test_a_caller_that_never_comes_back_keeps_no_other_from_asking_for_ever() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    breaker.admit(2)
    clock.now += SHORTEST + LONGEST
    assert breaker.admit(1) == 0.0


def test_the_next_may_ask_when_a_probe_was_given_up() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now += SHORTEST
    assert breaker.admit(2) == 0.0
    breaker.abandoned()
    assert breaker.admit(3) == 0.0


def test_everybody_may_ask_again_once_a_probe_is_answered() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now += SHORTEST
    breaker.admit(2)
    breaker.ended()
    assert {breaker.admit(caller) for caller in range(50)} == {0.0}
    assert breaker.cause is None
