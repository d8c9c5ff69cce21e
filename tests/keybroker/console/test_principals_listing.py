"""The list of principals: an old one is shown at once, and renewed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from keybroker.console.api import Known, Problem
from keybroker.console.principals import LISTED_SECONDS, Listing
from tests.running import wait_until


class Slow:
    """What the list is read from: it answers when it is let to. answer: what."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.now = 0.0
        self.reads = 0
        self.problem: Problem | None = None

    def get(self, _path: str, _query: Mapping[str, object] | None = None) -> Known:
        """Answer one page."""
        assert self.go.wait(10)
        self.reads += 1
        return Known({"items": [self.reads], "next": None}, self.now, self.problem)


def opened() -> tuple[Slow, Any]:
    """A list that was read once."""
    slow = Slow()
    slow.go.set()
    listing = Listing(slow)  # type: ignore[arg-type]  # of which it is the one method that is used
    assert listing.read(0)[0].data == [1]
    return slow, listing


def test_an_old_list_is_shown_at_once() -> None:
    """Nobody waits for the new list while there is one of some seconds ago; it is read once, and shown when it is there."""
    slow, listing = opened()
    slow.go.clear()
    slow.now = LISTED_SECONDS
    assert [listing.read(LISTED_SECONDS)[0].data for _ in range(3)] == [[1]] * 3
    slow.go.set()
    wait_until(lambda: listing.read(LISTED_SECONDS)[0].data == [2], 10)
    assert slow.reads == 2


def test_a_list_that_is_far_too_old_is_waited_for() -> None:
    """What was read long ago is not shown as what is."""
    slow, listing = opened()
    slow.now = 3600
    assert listing.read(3600)[0].data == [2]


def test_a_list_that_cannot_be_renewed_says_so() -> None:
    """When the new list cannot be had, the old one is shown with the reason, and asked for again soon."""
    slow, listing = opened()
    slow.problem = Problem(("away",))
    listing.read(LISTED_SECONDS)
    wait_until(lambda: listing.read(LISTED_SECONDS)[0].problem is not None, 10)
    assert (listing.read(LISTED_SECONDS)[0].data, listing.read(LISTED_SECONDS)[0].at) == ([1], 0)
    slow.problem, slow.now = None, LISTED_SECONDS + 5
    wait_until(lambda: listing.read(LISTED_SECONDS + 5)[0].problem is None, 10)
