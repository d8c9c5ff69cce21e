"""Numbers as bars."""

from __future__ import annotations

import io
import sys

import pytest

from keybroker.cli.sparkline import sparkline


def test_the_largest_is_the_highest() -> None:
    """The bars are relative to the largest number, and only zero has the lowest."""
    assert sparkline([0, 1, 50, 100]) == "▁▂▅█"
    assert (sparkline([0, 0]), sparkline([])) == ("▁▁", "")


def test_a_plain_terminal_has_plain_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output cannot show bars, there are letters that it can."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert sparkline([0, 100]) == "_@"
