from __future__ import annotations

import pytest

from local.sqlite.state_file import StateFile
from local.sqlite.steady_clock import ASLEEP, Reading, SteadyClock, follow, reader
from tests.local.sqlite.conftest import NOW, Clocks

BEFORE = Reading(NOW, 100.0, "boot")


@pytest.mark.parametrize(
    ("wall", "ticks", "boot", "shown"),
    [
        (60, 160.0, "boot", 60),  # both agree
        (86400, 160.0, "boot", 120),  # the wall clock is ahead: at most as much again
        (61, 160.0, "boot", 61),  # it drifts
        (-86400, 160.0, "boot", 0),  # it is behind: the steady clock waits
        (30, 160.0, "boot", 30),
        (60, 40.0, "boot", 0),  # ticks never go back on one boot
        (3600, 5.0, "other", 3600),  # the machine was off
        (ASLEEP + 1, 5.0, "other", ASLEEP),  # for longer than is believed
        (-3600, 5.0, "other", 0),
    ],
)
def test_it_follows_but_never_leaps(wall: int, ticks: float, boot: str, shown: int) -> None:
    assert follow(NOW, BEFORE, Reading(NOW + wall, ticks, boot)) == NOW + shown


def test_it_is_kept_in_the_file(kept: StateFile, clocks: Clocks) -> None:
    """Another process goes on where the last one was, and never shows more than the wall clock."""
    assert SteadyClock(kept, clocks).now() == NOW
    clocks.go(600)
    clocks.leap(86400)
    assert SteadyClock(kept, clocks).now() == NOW + 1200
    clocks.leap(-86400)
    assert SteadyClock(kept, clocks).now() == NOW + 600


def test_it_catches_up_with_a_clock_that_was_set(kept: StateFile, clocks: Clocks) -> None:
    steady = SteadyClock(kept, clocks)
    steady.now()
    clocks.leap(7200)
    for _ in range(3):
        clocks.go(3600)
        last = steady.now()
    assert last == clocks().wall


def test_the_machines_own_clocks_go_on() -> None:
    read = reader()
    first, second = read(), read()
    assert first.boot == second.boot
    assert 0 <= second.ticks - first.ticks < 5
