"""What a call is charged, however it ends."""

from __future__ import annotations

import pytest

from chalicelib.models.charge import Ending, Seen, charge
from chalicelib.models.worst_case import WorstCase
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.providers.prices import Tokens

WORST = WorstCase("m", 1_000, 400)
SAID = TokenUse("m", 200, 30, 50, 20)


@pytest.mark.parametrize(
    ("ending", "said", "passed", "charged"),
    [
        (Ending.NOT_SENT, None, 0, Tokens()),
        (Ending.REFUSED, None, 900, Tokens()),
        (Ending.FAILED, None, 0, Tokens(1_000, 0, 0, 1_000)),
        (Ending.LEFT, None, 0, Tokens(1_000, 400, 0, 1_000)),
        (Ending.WHOLE, SAID, 900, Tokens(200, 30, 50, 20)),
        (Ending.WHOLE, None, 900, Tokens(1_000, 400, 0, 1_000)),
        (Ending.WHOLE, TokenUse("m", 0, 0, 0), 900, Tokens(1_000, 400, 0, 1_000)),
        (Ending.WHOLE, TokenUse("m", 5_000, 9_000, 0), 900, Tokens(5_000, 9_000)),
        (Ending.CUT, None, 90, Tokens(1_000, 90, 0, 1_000)),
        (Ending.CUT, TokenUse("m", 200, 1, 0), 5_000, Tokens(200, 400)),
        (Ending.CUT, TokenUse("m", 0, 120, 0), 100, Tokens(1_000, 120, 0, 1_000)),
    ],
)
def test_every_ending_has_its_charge(ending: Ending, said: TokenUse | None, passed: int, charged: Tokens) -> None:
    """What the answer says is charged; what is not known counts as the worst case; what cannot have cost anything is free."""
    assert charge(WORST, ending, Seen(said, passed, is_stream=True)) == charged


def test_hanging_up_early_saves_nothing() -> None:
    """A caller that leaves before the answer says what it took pays for every byte and every second of each answer, to the worst case.

    What is no stream was put out before any of it came, and of what is compressed nobody counts the bytes.
    """

    def cut(passed: int, seconds: float = 0.0, worst: WorstCase = WORST, *, is_stream: bool = True) -> int:
        return charge(worst, Ending.CUT, Seen(None, passed, seconds, is_stream)).output

    assert [cut(passed) for passed in (1, 10, 399, 10_000)] == [1, 10, 399, 400]
    assert [cut(1, seconds) for seconds in (0.1, 0.3, 60)] == [100, 300, 400]
    assert cut(1, 0.1, WORST._replace(answers=3)) == 300
    assert cut(1, is_stream=False) == 400
