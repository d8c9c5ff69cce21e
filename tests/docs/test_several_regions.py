"""The numbers that decide against several regions are those of infra/cost.py."""

from __future__ import annotations

from infra import cost
from tests.running import ROOT

PAGE = " ".join((ROOT / "docs" / "adr" / "0004-several-regions.md").read_text(encoding="utf-8").split())
LEASE_WRITES = 17_280 * 32
"""A lease renewed every five seconds, as 16 copies of two units each."""


def test_the_decision_s_numbers_are_the_cost_s() -> None:
    """What waiting for a far region costs, an idle installation, a lease, and where the second pays for itself."""
    waiting = 0.270 * cost.MEMORY_GB * cost.PRICES["Lambda@Edge, GB-second"][0] * cost.MILLION
    idle = cost.total(cost.FIXED)
    lease = LEASE_WRITES * cost.PRICES["DynamoDB, write unit"][0] * 30
    assert f"million calls cost ${waiting:.2f} more" in PAGE
    assert f"${idle:.2f} idle" in PAGE
    assert f"${lease:.2f} for the lease" in PAGE
    assert f"at {idle / waiting:.1f} million calls a month" in PAGE
