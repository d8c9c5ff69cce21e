"""What pages say of times."""

from __future__ import annotations

import pytest

from keybroker.console.rendering import seen


@pytest.mark.parametrize(
    ("at", "now", "text"),
    [
        (None, 600.0, "never"),
        (600, 659.9, "this minute"),
        (600, 599.0, "this minute"),
        (600, 660.0, "1 min ago"),
        (600, 779.0, "2 min ago"),
    ],
)
def test_what_is_known_to_the_minute(at: int | None, now: float, text: str) -> None:
    """Someone who was seen in this minute was not seen 40 seconds ago: no more than the minute is known."""
    assert seen(at, now) == text
