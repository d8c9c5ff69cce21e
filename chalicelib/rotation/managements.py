"""Which providers have an API here with which keys are made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from chalicelib.rotation.openai import OpenAiKeys
from chalicelib.rotation.openrouter import OpenRouterKeys

Kind: TypeAlias = type[OpenAiKeys] | type[OpenRouterKeys]
MANAGEMENTS: Mapping[str, Kind] = MappingProxyType({"openai": OpenAiKeys, "openrouter": OpenRouterKeys})
"""By the provider's preset."""
