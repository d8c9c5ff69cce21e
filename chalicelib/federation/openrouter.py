"""OpenRouter's workload identity (openrouter.ai/docs and its SDK's `createOauthToken`, read in November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import (
    GRANT_EXCHANGE,
    TYPE_ACCESS,
    TYPE_JWT,
    Means,
    Minted,
    oauth_credential,
    post_form,
)
from chalicelib.providers.federated import FEDERATED

_URL: Final = "https://openrouter.ai/api/v1/oauth/token"
AUDIENCE: Final = "https://openrouter.ai"
"""What assertions for it are for, which its rule names."""


_LIFE: Final = 1200
"""Seconds of the assertion, which a credential does not outlive."""


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`."""
    federated = FEDERATED["openrouter"]
    fields = {
        "grant_type": GRANT_EXCHANGE,
        "subject_token": means.assertion(AUDIENCE, _LIFE, federated.algorithms),
        "subject_token_type": TYPE_JWT,
        "requested_token_type": TYPE_ACCESS,
        "federation_policy_id": settings["policy"],
        "scope": "inference",
    }
    return oauth_credential(post_form(means, _URL, fields), now, federated.longest)
