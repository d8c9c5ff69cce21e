"""Entra's federated credentials, for Azure OpenAI (learn.microsoft.com, "Workload identity federation", read in November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import Means, Minted, oauth_credential, post_form
from chalicelib.providers.federated import FEDERATED

AUDIENCE: Final = "api://AzureADTokenExchange"
"""What assertions for it are for, which its rule names."""


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`. Entra takes RS256 alone (AADSTS5002738 for any other)."""
    federated = FEDERATED["azure-openai"]
    fields = {
        "grant_type": "client_credentials",
        "client_id": settings["client"],
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": means.assertion(AUDIENCE, 600, federated.algorithms),
        "scope": "https://cognitiveservices.azure.com/.default",
    }
    url = f"https://login.microsoftonline.com/{settings['tenant']}/oauth2/v2.0/token"
    return oauth_credential(post_form(means, url, fields), now, federated.longest)
