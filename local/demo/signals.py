"""SIGINT and SIGTERM as exceptions that are never lost: each is raised again every second until clean-up begins."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

REPEAT_SECONDS = 1.0
_received: list[int] = []
"""The signals that came, a process's own as their handlers are."""


def raise_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGINT and SystemExit(143) on SIGTERM. Call it in the main thread."""
    signal.signal(signal.SIGINT, _raise_repeatedly)  # some shells start background jobs with SIGINT ignored
    signal.signal(signal.SIGTERM, _raise_repeatedly)
    sys.unraisablehook = _report_dropped


def raise_hidden() -> None:
    """Raise for a signal that came if its exception became another one: Python before 3.12 has `__set_name__` do so."""
    if _received:
        _raise(_received[0], None)


def stop_repeating() -> None:
    """Call this first in a clean-up: the pending exception is not raised again, and a further signal raises only once."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, _raise)
    signal.signal(signal.SIGTERM, _raise)
    sys.unraisablehook = sys.__unraisablehook__


def _report_dropped(dropped: UnraisableHookArgs) -> None:
    """Report what Python dropped, but not an exception of ours, which is raised again: an interruption is no fault."""
    if not (_received and issubclass(dropped.exc_type, KeyboardInterrupt | SystemExit)):
        sys.__unraisablehook__(dropped)


def _raise_repeatedly(number: int, frame: FrameType | None) -> NoReturn:
    _received.append(number)
    # Python drops an exception that is raised while a finalizer runs, and a signal may arrive at just that moment.
    signal.signal(signal.SIGALRM, lambda _alarm, frame: _raise_repeatedly(number, frame))
    signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
    _raise(number, frame)


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(143)
