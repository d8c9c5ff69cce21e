from __future__ import annotations

import pytest

from keybroker.tries import PAUSE, REQUESTS, Tries


class Clock:
    """A clock that only waiting moves on; it keeps the pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def tries(self, seconds: float = 20) -> Tries:
        return Tries(seconds, lambda: self.now, self.sleep)


def test_pauses_grow_and_requests_end() -> None:
    """Each pause is twice as long as the one before, and there are no more than four requests."""
    clock = Clock()
    tries = clock.tries()
    assert [tries.wait() for _ in range(REQUESTS)] == [True] * (REQUESTS - 1) + [False]
    for number, pause in enumerate(clock.pauses):
        assert PAUSE[0] * 2**number <= pause <= PAUSE[1] * 2**number


def test_a_retry_after_is_waited_for() -> None:
    """A Retry-After is the least that is waited."""
    clock = Clock()
    assert clock.tries().wait(7)
    assert 7 < clock.now < 8


@pytest.mark.parametrize("asked", [20, 60, 999_999_999])
def test_a_retry_after_beyond_the_deadline_ends_it(asked: int) -> None:
    """A Retry-After that reaches beyond the deadline is not waited for, not even in part."""
    clock = Clock()
    assert not clock.tries(20).wait(asked)
    assert clock.pauses == []


def test_no_answer_twice_in_a_row_ends_it() -> None:
    """What does not answer twice in a row is told; an answer between the two makes it two times one."""
    tries = Clock().tries()
    assert [tries.wait(answered=False), tries.wait(answered=False)] == [True, False]
    tries = Clock().tries()
    assert [tries.wait(answered=answered) for answered in (False, True, False)] == [True, True, True]


def test_a_request_ends_with_the_deadline() -> None:
    """A request may take its own limit, and less where the deadline is nearer."""
    clock = Clock()
    tries = clock.tries(20)
    assert tries.left(10) == 10
    clock.now = 15
    assert tries.left(10) == 5
    clock.now = 25
    assert 0 < tries.left(10) < 1
