from __future__ import annotations

import pytest

from chalicelib.providers.keys import MINTED, ProviderKey, version_of_set


def test_reveal() -> None:
    """A key is revealed in the form that its header wants."""
    assert ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1").reveal() == "Bearer sk-1"
    assert ProviderKey("v1", "https://api.anthropic.com", "x-api-key", "", "sk-1").reveal() == "sk-1"


def test_key_redacts_itself() -> None:
    """A key does not show its value, however it is printed."""
    key = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1")
    assert repr(key) == "ProviderKey(version='v1', origin='https://api.openai.com', value=***)"


@pytest.mark.parametrize(
    "new_id", ["A" * 22, "minted-abcdefghijklmno", "minted-minted-abcdefgh", "minted", "Minted-abc"]
)
def test_no_set_version_looks_minted(new_id: str) -> None:
    """A random id that happens to begin as minted versions do becomes another; every other stays as it is."""
    made = version_of_set(new_id)
    assert not made.startswith(MINTED)
    assert made == new_id or new_id.startswith(MINTED)
