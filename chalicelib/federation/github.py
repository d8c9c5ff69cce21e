"""GitHub Apps: an installation's token for a JWT of the App's (docs.github.com, "Authenticating as a GitHub App")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import Means, Minted, credential, document, post_json
from chalicelib.federation.instant import epoch
from chalicelib.providers.federated import FEDERATED

_URL: Final = "https://api.github.com/app/installations"
_BEFORE, _LIFE = 60, 540
"""Seconds: a clock may be a minute off, and GitHub takes ten minutes at most."""


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`."""
    proof = means.app_token({"iss": settings["client"], "iat": now - _BEFORE, "exp": now + _LIFE})
    headers = {"authorization": f"Bearer {proof}", "accept": "application/vnd.github+json"}
    answer = post_json(means, f"{_URL}/{settings['installation']}/access_tokens", {}, headers)
    found = document(answer)
    expires = epoch(found.get("expires_at"))
    return credential(found.get("token"), min(expires, now + FEDERATED["github-app"].longest), now, answer)
