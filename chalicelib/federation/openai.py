"""OpenAI's workload identity federation (platform.openai.com, "Workload identity federation", read in November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import GRANT_EXCHANGE, TYPE_JWT, Means, Minted, oauth_credential, post_json
from chalicelib.providers.federated import FEDERATED

_URL: Final = "https://auth.openai.com/oauth/token"
AUDIENCE: Final = "https://api.openai.com/v1"
"""What assertions for it are for, which its rule names."""


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`. No credential outlives its assertion, which therefore lives as long."""
    federated = FEDERATED["openai"]
    body = {
        "grant_type": GRANT_EXCHANGE,
        "subject_token": means.assertion(AUDIENCE, federated.longest, federated.algorithms),
        "subject_token_type": TYPE_JWT,
        "identity_provider_id": settings["identity_provider"],
        "service_account_id": settings["service_account"],
    }
    return oauth_credential(post_json(means, _URL, body), now, federated.longest)
