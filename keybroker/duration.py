"""A length of time as people read it; `chalicelib.duration` says the same."""

from __future__ import annotations

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def words(seconds: int) -> str:
    """Return a number of seconds, not below 0, in the largest unit that it is twice of or an exact multiple of.

    It is rounded to whole units: 76249 is `21 h`, 90 is `90 s`, 3600 is `1 h`.
    """
    unit, length = next(
        one for one in _UNITS if seconds >= 2 * one[1] or (seconds and seconds % one[1] == 0) or one[1] == 1
    )
    return f"{(seconds + length // 2) // length} {unit}"
