"""The assertions of the demo's steps."""

from __future__ import annotations


class CheckFailedError(Exception):
    """A step did not have the expected result. The text says what was expected and what was found; it holds no secret."""


def check(what: str, found: object, expected: object) -> None:
    """Raise CheckFailedError unless the two are equal. what: names the value in the error message."""
    if found != expected:
        raise CheckFailedError(f"{what}: expected {expected!r}, found {found!r}")
