from __future__ import annotations

import pytest

from keybroker.cli.provider_key_pattern import Found, find
from tests.provider_vectors import keys

KEYS, ASSIGNED = keys("key"), keys("assigned key")


@pytest.mark.parametrize("provider", KEYS)
@pytest.mark.parametrize("around", ["{}", "KEY={}", '"{}"', "  key: {}  # mine", "curl -H 'Bearer {}'", "x={};y"])
def test_a_key_is_found_by_its_form(provider: str, around: str) -> None:
    """A key with a prefix is found wherever it stands."""
    assert list(find(f"\n{around.format(KEYS[provider])}\n")) == [Found(provider, 2)]


@pytest.mark.parametrize("provider", ASSIGNED)
def test_a_key_is_found_by_its_variable(provider: str) -> None:
    """A key without a prefix is found where it is assigned to its variable."""
    assert list(find(ASSIGNED[provider])) == [Found(provider, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "sk-made-up-0123456789abcdef",
        "sk-practice-openai-0123456789abcdef01234567",
        "OPENAI_API_KEY=$(keybroker token --key openai)",
        "MISTRAL_API_KEY=${MISTRAL_API_KEY}",
        "sk_test_" + "a" * 24,
        "eyJhbGciOiJFUzI1NiJ9." + "a" * 200 + "." + "b" * 86,
        "kb-local-" + "a" * 43,
        "a" * 40,
    ],
)
def test_other_tokens_are_not_keys(text: str) -> None:
    """Our own tokens, examples and test keys are not reported."""
    assert list(find(text)) == []


def test_the_key_itself_is_not_stored() -> None:
    """A finding does not contain the key."""
    (found,) = find(KEYS["openai"])
    assert KEYS["openai"] not in repr(found)
