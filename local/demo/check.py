"""What each step of the demo asserts, so that it cannot tell what did not happen."""

from __future__ import annotations


class StepFailed(Exception):  # noqa: N818  it is the story that failed, in words for a person
    """A step's fact does not hold. The text says which, with what was found instead; it holds no secret."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raise StepFailed unless found is what was wanted."""
    if found != wanted:
        raise StepFailed(f"{what}: expected {wanted!r}, found {found!r}")
