"""What a test expects of something that is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib.errors import Refusal


def refused(attempt: Callable[[], object]) -> Refusal:
    """Return the refusal that an attempt meets; fails if it meets none."""
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value
