"""The log of one machine: lines on stderr, each with its time; what is JSON stays JSON."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime


class TimedFormatter(logging.Formatter):
    """Puts the time (UTC, ISO 8601) in front of a line, and into a JSON object as its first member, `time`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = super().format(record)
        return f'{{"time": "{time}", {text[1:]}' if text.startswith('{"') else f"{time} {text}"


def to_stderr(level: str = "info") -> None:
    """Send this process's log to stderr: ours from a level on, and the warnings of everything else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TimedFormatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("keybroker").setLevel(level.upper())
