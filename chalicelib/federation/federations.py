"""Who mints for which provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chalicelib.federation import anthropic, azure, bedrock, github, google, openai, openrouter
from chalicelib.federation.exchange import Means, Minted

Mint = Callable[[Mapping[str, str], Means, int], Minted]
MINTS: Final[Mapping[str, Mint]] = {
    "anthropic": anthropic.mint,
    "openai": openai.mint,
    "openrouter": openrouter.mint,
    "gemini": google.mint,
    "azure-openai": azure.mint,
    "bedrock": bedrock.mint,
    "github-app": github.mint,
}
"""By provider: returns a credential for a key's ids at a time (epoch seconds); raises MintError, Unavailable."""
