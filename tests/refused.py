"""What a test expects of something that is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from chalicelib.errors import Refusal
from chalicelib.tokens.errors import CLAIM_REASONS, PROOF_REASONS


def is_of_claims(reason: str) -> bool:
    """Whether it is proved who sent a token that was refused for this reason."""
    return reason not in PROOF_REASONS and any(
        re.fullmatch(one.replace("<claim>", r"[\w/.-]+"), reason) for one in CLAIM_REASONS
    )


def refused(attempt: Callable[[], object]) -> Refusal:
    """Return the refusal that an attempt meets; fails if it meets none."""
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value
