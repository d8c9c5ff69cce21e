"""What a call is charged in the end, by how it ended and what its answer says that it took."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from chalicelib.models.worst_case import WorstCase
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.providers.prices import Tokens


class Ending(Enum):
    """How a call ended."""

    NOT_SENT = "nothing of it reached the provider"
    REFUSED = "the provider refused it: a status of 3xx or 4xx"
    FAILED = "the provider failed: a status of 5xx, or no answer"
    LEFT = "it was sent, and ended before anything of its answer's body came"
    CUT = "its answer broke off, on whichever side"
    WHOLE = "its answer came whole"


class Seen(NamedTuple):
    """What was seen of an answer. said: what it says that it took, as far as it came; None: nothing.

    passed: bytes of it that went on. seconds: from when the call was sent. is_stream: of events that went on as the model put
    them out, and not compressed.
    """

    said: TokenUse | None = None
    passed: int = 0
    seconds: float = 0.0
    is_stream: bool = False


NOTHING = Seen()
A_SECOND = 1_000
"""Tokens of one answer that no model puts out faster; of a model that reasons first, none of it is seen."""


def charge(worst: WorstCase, ending: Ending, seen: Seen = NOTHING) -> Tokens:
    """Return what a call is charged.

    What is not known counts as the worst case. What the answer says counts even where it is more than that.
    """
    if ending in (Ending.NOT_SENT, Ending.REFUSED):
        return Tokens()
    if ending is Ending.FAILED:
        return _unsaid(worst, 0)
    said = seen.said
    if ending is Ending.WHOLE and said is not None and (said.input or said.output):
        return Tokens(said.input, said.output, said.cached, said.written)
    if ending is Ending.CUT:
        # SECURITY: a caller that hangs up before the answer says what it took pays for all that it was sent, a token has a
        # byte at least, and for what the model may have thought meanwhile; all of what is no stream was put out before its
        # first byte came (test_hanging_up_early_saves_nothing).
        meanwhile = int(seen.seconds * A_SECOND) * worst.answers
        unsaid = min(worst.output, max(seen.passed, meanwhile)) if seen.is_stream else worst.output
        output = max(said.output if said else 0, unsaid)
        if said is None or not said.input:
            return _unsaid(worst, output)
        return Tokens(said.input, output, said.cached, said.written)
    return _unsaid(worst, worst.output)


def _unsaid(worst: WorstCase, output: int) -> Tokens:
    """Return what counts where the answer says nothing of the input: all of it, as if it were written to a cache."""
    return Tokens(worst.input, output, written=worst.input)
