"""What is fuzzed: something to draw, and a check of it that fails only if a rule is broken."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st


@dataclass(slots=True)
class Tally:
    """What was tried of one target. slowest: seconds of a single check."""

    tried: int = 0
    slowest: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """name: for the command line. values: what is drawn. check: raises AssertionError, or anything, if a rule is broken."""

    name: str
    values: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    tally: Tally = field(default_factory=Tally)

    def attempt(self, first: int, examples: int, *, shrink: bool = True) -> Callable[[], None]:
        """Return a Hypothesis test that draws so many values, the same for the same `first`.

        shrink: make what breaks a rule as small as can be, which takes its time.
        """

        @seed(first)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        )
        @given(self.values)
        def attempt(value: Any) -> None:  # noqa: ANN401  whatever was drawn
            begun = time.perf_counter()
            self.check(value)
            self.tally.tried += 1
            self.tally.slowest = max(self.tally.slowest, time.perf_counter() - begun)

        return attempt

    def run(self, seconds: float) -> None:
        """Draw and check until the time is up."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.attempt(random.getrandbits(32), 100)()
