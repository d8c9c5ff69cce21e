"""SIGINT and SIGTERM as exceptions that cannot get lost: each is raised again until somebody has begun to clean up."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

AGAIN_SECONDS = 1.0


def raise_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGINT and SystemExit(143) on SIGTERM, in the main thread, which has to call this."""
    signal.signal(signal.SIGINT, _interrupt)  # some shells start background jobs with it ignored
    signal.signal(signal.SIGTERM, _interrupt)


def cleaning_up() -> None:
    """Raise nothing again: the exception has arrived where it was going, or there was none. Another signal raises once."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, _raise)
    signal.signal(signal.SIGTERM, _raise)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # Python drops what is raised while it runs a finalizer, and a signal may come just then.
    signal.signal(signal.SIGALRM, lambda _alarm, frame: _interrupt(number, frame))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    _raise(number, frame)


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(143)
