"""What a response asks its client to wait for (RFC 9110 section 10.2.3)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

_DIGITS = 9


def retry_after(value: str | None, now: float) -> int | None:
    """Return the seconds that a Retry-After asks for, None if there is none that can be read.

    value: a number of seconds or an HTTP date. now: the wall clock, in seconds; a date that has passed is 0.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return int(text) if len(text) <= _DIGITS else None
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() - now))
    except (TypeError, ValueError, OverflowError):
        return None
