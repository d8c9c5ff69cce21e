"""Names with their values as they were sent, in a form or a JSON object: each name once (RFC 6749 section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Value = TypeVar("_Value")

SENT_TWICE = "a parameter was sent twice"


class RepeatedParameterError(ValueError):
    """A name was sent more than once, so that two readers could take two different values for it."""

    def __init__(self) -> None:
        super().__init__(SENT_TWICE)


def unique(pairs: Sequence[tuple[str, _Value]]) -> dict[str, _Value]:
    """Return the parameters by name; raises RepeatedParameterError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedParameterError
    return found
