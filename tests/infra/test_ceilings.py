from __future__ import annotations

import pytest

from infra import ceilings
from tests.cloudformation import template

UNITS = ceilings.Units(reads=6, writes=2, ledger=10)


def found(part: str, units: ceilings.Units = UNITS) -> float:
    """The ceiling of a part, in calls a second."""
    (one,) = [one.calls for one in ceilings.ceilings(units, 0.06) if one.part == part]
    return one


@pytest.mark.parametrize(
    ("part", "calls"),
    [
        ("`control`, its quota", 6_666),
        ("`counters`, its quota", 20_000),
        ("a new `control`", 2_000),
        ("the edge in one region, near", 10_000),
        ("the edge in one region, far away", 5_263),
        ("a shared item in 16 copies", 48_000),
    ],
)
def test_a_ceiling_is_a_quota_over_what_a_call_uses(part: str, calls: int) -> None:
    """A part ends at its quota, divided by what one call uses of it."""
    assert int(found(part)) == calls


def test_fewer_units_raise_the_ceiling() -> None:
    """What a call uses is what the page computes with, so a leaner call moves its tables' ceilings."""
    assert found("`control`, its quota", ceilings.Units(3, 1, 10)) == 2 * found("`control`, its quota")


def test_what_does_not_fit_is_bold() -> None:
    """Each rate is a share of the ceiling; one beyond it stands out."""
    (_, row) = ceilings.table([ceilings.Ceiling("x", 2_000, "ask")])
    assert row == "| x | 2,000 | 0.5% | 50% | **25 x** | ask |"


def test_the_doors_numbers_are_the_templates() -> None:
    """The broker's own limits are those that its template has by default."""
    parameters = template("public")["Parameters"]
    defaults = (parameters["RequestsPerSecond"]["Default"], parameters["Concurrency"]["Default"])
    assert defaults == (ceilings.DOOR_RATE, ceilings.DOOR_EXECUTIONS)
