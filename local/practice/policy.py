"""The practice policy, made-up keys, and the preset `practice`: the practice issuer under GitHub's rules."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

from chalicelib.issuers import presets
from chalicelib.issuers.entry import Preset
from chalicelib.policy.compile import InstallationRules
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.presets import PROVIDERS

AUDIENCE = "keybroker"

POLICY = """\
# The policy of `python -m local serve` without --policy.
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  practice-ci:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "9919", repository_id: "1234"}}
    scope: ["POST:/v1/chat/completions", "POST:/v1/responses", "POST:/v1/embeddings", "GET:/v1/models", "GET:/v1/models/*"]
    ttl: 15m
    quota: {tokens: 100000/hour, calls: [1000000/minute, 100000000/day]}
  practice-ci-anthropic:
    key: anthropic
    to: {issuer: practice, claims: {repository_owner_id: "9919", repository_id: "1234"}}
    scope: ["POST:/v1/messages", "GET:/v1/models", "GET:/v1/models/*"]
    ttl: 15m
    quota: {tokens: 100000/hour, calls: [1000000/minute, 100000000/day]}
"""


def rules(issuer_url: str | None) -> InstallationRules:
    """Return the rules of one machine's policy language, with `preset: practice` while the practice issuer runs."""
    known: Mapping[str, Preset] = presets.PRESETS
    if issuer_url is not None:
        # Tests mint few claims; those that identify the principal are required all the same.
        rules = replace(known["github-actions"], url=issuer_url, required=("jti", "repository_id"))
        known = {**known, "practice": rules}
    return InstallationRules(known, loopback_issuers=True, sees_answers=True)


def made_up_values() -> dict[str, str]:
    """Return a made-up key for each provider."""
    return {provider: f"sk-practice-{provider}-{secrets.token_hex(12)}" for provider in PROVIDERS}


def provider_keys(keys: Mapping[str, str], origin: str, values: Mapping[str, str]) -> dict[str, ProviderKey]:
    """Return a practice key for each key of the policy. keys: by name, the provider."""
    return {
        name: ProviderKey(
            version=f"practice-{secrets.token_hex(4)}",
            origin=origin,
            header=PROVIDERS[provider].header,
            prefix=PROVIDERS[provider].prefix,
            value=values[provider],
        )
        for name, provider in keys.items()
    }
