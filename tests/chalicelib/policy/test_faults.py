"""Faults as they are raised."""

from __future__ import annotations

from chalicelib.policy.faults import Fault, InvalidPolicyError


def test_faults_are_sorted() -> None:
    """Faults are sorted by line and field, and none is told twice."""
    faults = [Fault("k.yaml", line, field, "x", "y") for line, field in ((3, "b"), (2, "z"), (3, "a"), (2, "z"))]
    assert [(one.line, one.field) for one in InvalidPolicyError(faults).faults] == [(2, "z"), (3, "a"), (3, "b")]
