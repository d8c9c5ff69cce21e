"""How long a revocation takes until it holds: the rule, with steps and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.admin.revocation_probe import LONGEST_SECONDS, RevocationProbe, Seen, measure
from chalicelib.errors import StateUnavailable

NOW = 1_800_000_000
OPEN, REVOKED, UNKNOWN = Seen.OPEN, Seen.REVOKED, Seen.UNKNOWN


class Scripted:
    """Each call takes a tenth of a second, and a revocation half of one; after the script, the last answer stays."""

    def __init__(self, *answers: Seen) -> None:
        self._answers: Iterator[Seen] = iter(answers)
        self._last, self.time, self.revoked = answers[-1], 100.0, 0

    def call(self) -> Seen:
        self.time += 0.1
        return next(self._answers, self._last)

    def revoke(self) -> None:
        self.time += 0.5
        self.revoked += 1

    def pause(self, seconds: float) -> None:
        self.time += seconds


def measured(*answers: Seen) -> tuple[str, float | None, int]:
    steps = Scripted(*answers)
    found = measure(steps, "here", NOW, lambda: steps.time, steps.pause)
    assert (found.where, found.at) == ("here", NOW)
    return found.outcome, found.seconds, found.open_after


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((OPEN, REVOKED), ("held", 0.1, 0)),
        ((OPEN, OPEN, REVOKED), ("held", 0.205, 1)),
        ((OPEN, REVOKED, OPEN, REVOKED), ("held", 0.305, 1)),  # another process, which did not know yet
        ((OPEN, *[OPEN] * 9, REVOKED), ("held", 1.045, 9)),  # that call came within the second, and its answer after it
        ((OPEN, *[OPEN] * 12, REVOKED), ("late", 1.36, 12)),
        ((OPEN, UNKNOWN, REVOKED), ("held", 0.205, 0)),
        ((REVOKED,), ("unknown", None, 0)),
        ((UNKNOWN,), ("unknown", None, 0)),
        ((OPEN, UNKNOWN), ("unknown", None, 0)),
    ],
    ids=[
        "at-once",
        "one-later",
        "one-process-later",
        "a-late-answer",
        "late",
        "no-answer-first",
        "blocked-before",
        "no-edge",
        "edge-gone",
    ],
)
def test_what_is_not_known_is_not_held(answers: tuple[Seen, ...], expected: tuple[str, float | None, int]) -> None:
    """A revocation holds once the first of the refusals is there that only refusals follow; what is no refusal is none."""
    outcome, seconds, still_open = measured(*answers)
    assert (outcome, None if seconds is None else round(seconds, 3), still_open) == expected


def test_a_revocation_that_never_holds() -> None:
    """A probe gives up in bounded time, and says that the revocation never held."""
    outcome, seconds, still_open = measured(OPEN)
    assert (outcome, seconds, still_open > LONGEST_SECONDS / 0.2) == ("never", None, True)


def test_nothing_is_revoked_without_a_way_in() -> None:
    """Where the first call is not open, nothing is revoked: nothing could be told by it."""
    steps = Scripted(UNKNOWN)
    measure(steps, "here", NOW, lambda: steps.time, steps.pause)
    assert steps.revoked == 0


def test_a_revocation_that_fails_is_told() -> None:
    """A revocation that is not acknowledged is no measurement."""

    class Fails(Scripted):
        def revoke(self) -> None:
            raise StateUnavailable

    steps = Fails(OPEN)
    with pytest.raises(StateUnavailable):
        measure(steps, "here", NOW, lambda: steps.time, steps.pause)


def test_a_measurement_is_kept_whole() -> None:
    """What is stored is read back as it was."""
    probe = RevocationProbe("here", NOW, "held", 0.01, 0)
    assert RevocationProbe(**probe.to_json()) == probe
