"""When to replace a token: a pure rule, without clock and without state."""

from __future__ import annotations

from enum import Enum

AHEAD = 1 / 3
"""The last part of a token's life, in which the next one is fetched ahead."""
SPREAD = 0.1
"""The part of AHEAD by which programs differ, so that those that started together do not all refresh at once."""
_LAST, _LAST_PART = 15.0, 1 / 20
"""The last seconds of a token, or the last part of a short one: a call may not arrive in time with it."""
_ROUNDED = 1.0
"""Seconds by which a token may expire early: the broker rounds its times down to whole seconds."""


class Due(Enum):
    """What a token's age asks for."""

    NOTHING = "serve it"
    AHEAD = "serve it, and fetch the next one in the background"
    NOW = "fetch the next one first; serve this one if that fails"
    DEAD = "it has expired"


def due(age: float, lifetime: float, spread: float) -> Due:
    """Return what is due. age, lifetime: seconds, both from the start of the token's request. spread: from 0 to 1."""
    left = lifetime - _ROUNDED - age
    if left <= 0:
        return Due.DEAD
    if left <= min(_LAST, lifetime * _LAST_PART):
        return Due.NOW
    return Due.AHEAD if left <= lifetime * AHEAD * (1 - SPREAD * spread) else Due.NOTHING
