"""Shows what races came to at the end of a run, whatever pytest captured, from other processes of it too."""

from __future__ import annotations

import pytest

NUMBERS = "races"
"""The property of a test that holds a line of numbers (`record_property`)."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print every line that was recorded."""
    reports = [one for many in terminalreporter.stats.values() for one in many if isinstance(one, pytest.TestReport)]
    lines = [value for one in reports if one.when == "call" for name, value in one.user_properties if name == NUMBERS]
    if lines:
        terminalreporter.section("races")
    for line in sorted(map(str, lines)):
        terminalreporter.write_line(line)
