from __future__ import annotations

import pytest

from keybroker.cli.provider_key_pattern import Found, find

KEYS = {
    "openai": f"sk-proj-{'a-B' * 19}aT3BlbkFJ{'c_4' * 19}c",
    "anthropic": f"sk-ant-api03-{'a' * 93}AA",
    "gemini": f"AIza{'a' * 35}",
    "groq": f"gsk_{'a' * 52}",
    "openrouter": f"sk-or-v1-{'0f' * 32}",
    "xai": f"xai-{'a' * 80}",
    "together": f"tgp_v1_{'a' * 43}",
    "github": f"ghp_{'a' * 36}",
    "stripe": f"sk_live_{'a' * 24}",
}
ASSIGNED = {
    "mistral": f"MISTRAL_API_KEY={'a' * 32}",
    "cohere": f'CO_API_KEY: "{"a" * 40}"',
    "deepseek": f"export DEEPSEEK_API_KEY='sk-{'0f' * 16}'",
    "azure-openai": f'{{"AZURE_OPENAI_API_KEY": "{"0f" * 16}"}}',
}


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
