"""What answers took, as SQLite keeps it. What every store promises is in tests/contracts."""

from __future__ import annotations

from chalicelib import quota
from chalicelib.usage import Answered, ModelUse, window_start
from local.sqlite.answer_usage import SqliteAnswerUsage
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import sweep
from tests.local.sqlite.conftest import NOW


def test_they_are_removed_with_the_counters(kept: StateFile) -> None:
    """What answers took is kept as long as the counters beside it."""
    minute = window_start("minute", NOW)
    SqliteAnswerUsage(kept).add([Answered("sub", "app", "openai", minute, ModelUse("gpt-5-mini", 2, 1, 100, 20, 30))])
    for length, rows in ((quota.COUNTERS_KEPT["hour"], 3), (quota.COUNTERS_KEPT["hour"] + 3 * 86400, 0)):
        list(sweep(kept, NOW + length - 1))
        with kept.reading() as connection:
            assert connection.execute("SELECT count(*) FROM answers").fetchone() == (rows,)
