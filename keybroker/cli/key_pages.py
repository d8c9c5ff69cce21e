"""Where people make and delete keys at each provider."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PAGES: Mapping[str, str] = MappingProxyType(
    {
        "openai": "https://platform.openai.com/api-keys",
        "anthropic": "https://console.anthropic.com/settings/keys",
        "gemini": "https://aistudio.google.com/app/apikey",
        "mistral": "https://console.mistral.ai/api-keys",
        "cohere": "https://dashboard.cohere.com/api-keys",
        "azure-openai": "https://portal.azure.com",
        "groq": "https://console.groq.com/keys",
        "openrouter": "https://openrouter.ai/settings/keys",
        "together": "https://api.together.ai/settings/api-keys",
        "deepseek": "https://platform.deepseek.com/api_keys",
        "xai": "https://console.x.ai",
        "github": "https://github.com/settings/personal-access-tokens",
        "github-app": "https://github.com/settings/apps",
        "bedrock": "https://console.aws.amazon.com/bedrock",
        "stripe": "https://dashboard.stripe.com/apikeys",
    }
)
"""By the provider's preset. (K) none of them is documented to stay."""
MANAGED = frozenset({"openai", "openrouter"})
"""The presets whose providers have an API with which the broker can replace keys."""


def page(provider: str) -> str:
    """Return where its keys are made, or words for that."""
    return PAGES.get(provider, "its provider")
