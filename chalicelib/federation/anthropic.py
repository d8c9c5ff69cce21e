"""Anthropic's workload identity federation (platform.claude.com, "Workload identity federation", read in November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import GRANT_JWT, Means, Minted, oauth_credential, post_json
from chalicelib.providers.federated import FEDERATED

_URL: Final = "https://api.anthropic.com/v1/oauth/token"
AUDIENCE: Final = "https://api.anthropic.com"
"""What assertions for it are for, which its rule names."""
_FLAG: Final = "oauth-2025-04-20"
_BESIDE: Final = (("anthropic-beta", _FLAG), ("anthropic-workspace-id", ""))
"""A minted credential is refused without the flag; the workspace is the rule's."""
_LIFE: Final = 3600
"""Seconds of the assertion: the credential lives up to twice as long, as the rule says."""


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`."""
    body = {
        "grant_type": GRANT_JWT,
        "assertion": means.assertion(AUDIENCE, _LIFE, FEDERATED["anthropic"].algorithms),
        "federation_rule_id": settings["rule"],
        "organization_id": settings["organization"],
        "service_account_id": settings["service_account"],
        **({"workspace_id": settings["workspace"]} if "workspace" in settings else {}),
    }
    headers = {"anthropic-beta": f"{_FLAG},oidc-federation-2026-04-01"}
    answer = post_json(means, _URL, body, headers)
    return oauth_credential(answer, now, FEDERATED["anthropic"].longest, _BESIDE)
