"""Says that a program's tokens end: it was given them once, and may outlive them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from keybroker.cli import output
from keybroker.duration import words

_AHEAD = 60.0
"""Seconds before the end at which it is said of a program that still runs, or a fifth of a short life."""


@contextlib.contextmanager
def told(
    lives: Mapping[str, int],
    *,
    at_start: bool,
    say: Callable[[str], None] = output.message,
    timer: Callable[[float, Callable[[], None]], threading.Timer] = threading.Timer,
) -> Iterator[None]:
    """Say while a program runs when the first of its tokens ends, once.

    lives: the seconds that each key's token lives from now on. at_start: at once, which is right for a person who has
    just started it; else shortly before the end, so that a log of short programs says nothing. timer: for tests.
    """
    key, seconds = min(lives.items(), key=lambda one: one[1])
    ends = time.time() + seconds
    if at_start:
        say(_text(key, ends, seconds))
        yield
        return
    ahead = min(_AHEAD, seconds / 5)
    waiting = timer(seconds - ahead, lambda: say(_text(key, ends, round(ahead))))
    waiting.daemon = True
    waiting.start()
    try:
        yield
    finally:
        waiting.cancel()


def _text(key: str, ends: float, left: int) -> str:
    at = time.strftime("%H:%M", time.localtime(ends))
    return f"the token for {key} ends at {at} (in {words(left)}); --proxy keeps a longer program supplied"
