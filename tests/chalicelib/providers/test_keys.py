from __future__ import annotations

from chalicelib.providers.keys import ProviderKey


def test_reveal() -> None:
    """A key is revealed in the form that its header wants."""
    assert ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1").reveal() == "Bearer sk-1"
    assert ProviderKey("v1", "https://api.anthropic.com", "x-api-key", "", "sk-1").reveal() == "sk-1"


def test_key_redacts_itself() -> None:
    """A key does not show its value, however it is printed."""
    key = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1")
    assert repr(key) == "ProviderKey(version='v1', origin='https://api.openai.com', value=***)"
