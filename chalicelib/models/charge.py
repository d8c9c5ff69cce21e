"""What a call is charged in the end, by how it ended and what its answer says that it took."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from chalicelib.models.worst_case import WorstCase
from chalicelib.providers.answer_usage import TokenUse


class Ending(Enum):
    """How a call ended."""

    NOT_SENT = "nothing of it reached the provider"
    REFUSED = "the provider refused it: a status of 3xx or 4xx"
    FAILED = "the provider failed: a status of 5xx, or no answer"
    LEFT = "it was sent, and ended before anything of its answer's body came"
    CUT = "its answer broke off, on whichever side"
    WHOLE = "its answer came whole"


class Charge(NamedTuple):
    """Tokens that a call is charged. cached: those of the input that came from a cache."""

    input: int = 0
    output: int = 0
    cached: int = 0


class Seen(NamedTuple):
    """What was seen of an answer. said: what it says that it took, as far as it came; None: nothing.

    passed: bytes of it that went on. seconds: from when the call was sent.
    """

    said: TokenUse | None = None
    passed: int = 0
    seconds: float = 0.0


NOTHING = Seen()
A_SECOND = 1_000
"""Tokens that no model puts out faster; of a model that reasons first, none of it is seen."""


def charge(worst: WorstCase, ending: Ending, seen: Seen = NOTHING) -> Charge:
    """Return what a call is charged.

    What is not known counts as the worst case. What the answer says counts even where it is more than that.
    """
    if ending in (Ending.NOT_SENT, Ending.REFUSED):
        return Charge()
    if ending is Ending.FAILED:
        return Charge(input=worst.input)
    said = seen.said
    if ending is Ending.WHOLE and said is not None:
        return Charge(said.input, said.output, said.cached)
    if ending is Ending.CUT:
        # SECURITY: a caller that hangs up before the answer says what it took pays for all that it was sent, a token has a
        # byte at least, and for what the model may have thought meanwhile (test_hanging_up_early_saves_nothing).
        unsaid = min(worst.output, max(seen.passed, int(seen.seconds * A_SECOND)))
        output = max(said.output if said else 0, unsaid)
        return Charge(said.input or worst.input if said else worst.input, output, said.cached if said else 0)
    return Charge(worst.input, worst.output)
