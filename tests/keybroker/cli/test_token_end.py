from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from keybroker.cli import token_end


class Timer(threading.Timer):
    """A timer that only the test lets run out."""

    made: list[Timer]

    def __init__(self, interval: float, function: Callable[[], None]) -> None:
        super().__init__(interval, function)
        self.cancelled = False
        self.made.append(self)

    def start(self) -> None:
        """Do nothing."""

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture(autouse=True)
def no_timer_before() -> None:
    Timer.made = []


def test_a_person_is_told_at_the_start() -> None:
    """At a terminal the time is said once, before the program starts; of several tokens the first that ends counts."""
    said = list[str]()
    with token_end.told({"openai": 3600, "anthropic": 900}, at_start=True, say=said.append, timer=Timer):
        assert len(said) == 1
    at = time.strftime("%H:", time.localtime(time.time() + 900))
    assert said[0].startswith(f"the token for anthropic ends at {at}")
    assert said[0].endswith("(in 15 min); --proxy keeps a longer program supplied")
    assert Timer.made == []


@pytest.mark.parametrize(("lives", "after", "left"), [(900, 840, "1 min"), (4, 3.2, "1 s")])
def test_a_log_is_told_shortly_before_the_end(lives: int, after: float, left: str) -> None:
    """Without a terminal it is said only of a program that still runs when its token is about to end."""
    said = list[str]()
    with token_end.told({"openai": lives}, at_start=False, say=said.append, timer=Timer):
        assert said == []
        (waiting,) = Timer.made
        assert waiting.interval == pytest.approx(after)
        waiting.function()
        assert f"(in {left})" in said[0]


def test_a_short_program_says_nothing() -> None:
    """When the program ends before, nothing is said, also where it ends by an error."""
    said = list[str]()
    with pytest.raises(KeyError), token_end.told({"openai": 900}, at_start=False, say=said.append, timer=Timer):
        raise KeyError
    assert (said, Timer.made[0].cancelled, Timer.made[0].daemon) == ([], True, True)
