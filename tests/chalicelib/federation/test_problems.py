"""Why nothing was minted, in words: what is the provider's is told from what is ours."""

from __future__ import annotations

import pytest

from chalicelib.errors import StateUnavailable
from chalicelib.federation import problems
from chalicelib.providers.errors import ProviderKeysUnwritable
from chalicelib.tokens.errors import SigningKeyMalformed, SigningUnavailable

OF_PROVIDER = "the provider"


@pytest.mark.parametrize(
    ("problem", "denied", "said"),
    [
        ("invalid_grant", True, "the provider refuses (invalid_grant)"),
        ("status_401", True, "the provider refuses (status_401)"),
        ("too_slow", False, "the provider did not answer with a credential (too_slow)"),
        ("malformed", False, "the provider did not answer with a credential (malformed)"),
        ("state_refused", True, "the provider refuses (state_refused)"),
    ],
)
def test_what_is_the_provider_s(problem: str, denied: bool, said: str) -> None:  # noqa: FBT001  a parameter
    """A refusal is told from an answer that did not come, with the word; nothing is missing here."""
    assert problems.words(problem, denied=denied) == said
    assert not problems.lacks(problem, denied=denied)


@pytest.mark.parametrize(
    ("problem", "denied", "lacks"),
    [
        ("app_key_missing", True, True),
        ("federation_key_missing", True, True),
        ("no_aws_credentials", False, True),
        ("no_aws_region", False, True),
        (SigningKeyMalformed.reasons[0], False, True),
        ("sts_AccessDenied", True, True),
        ("sts_Throttling", False, False),
        (SigningUnavailable.reasons[0], False, False),
        (ProviderKeysUnwritable.reasons[0], False, False),
        (StateUnavailable.reasons[0], False, False),
    ],
)
def test_what_is_ours(problem: str, denied: bool, lacks: bool) -> None:  # noqa: FBT001  parameters
    """Each has a line of its own, in which the provider neither refuses nor fails to answer."""
    said = problems.words(problem, denied=denied)
    assert problems.lacks(problem, denied=denied) is lacks
    assert said.endswith(f" ({problem})")
    assert "the provider refuses" not in said
    assert "the provider did not answer" not in said
