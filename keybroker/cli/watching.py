"""`--watch SECONDS`: shows something again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from keybroker.cli import output
from keybroker.cli.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def watch_option(command: _Command) -> _Command:
    """Add the option that says how often."""
    text = "Show it again every so many seconds; --output json: one line each time."
    return click.option("--watch", type=click.IntRange(1, 3600), metavar="SECONDS", help=text)(command)


def shown(
    settings: Settings, watch: int | None, show: Callable[[], None], pause: Callable[[float], None] = time.sleep
) -> None:
    """Show something, and again every so many seconds, until Ctrl-C; once for None. In JSON each time is one line."""
    settings.lines = watch is not None
    show()
    while watch is not None:
        pause(watch)
        if not settings.json:
            output.clear()
        show()
