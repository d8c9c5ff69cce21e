"""Bedrock's bearer tokens: a request that is signed ahead (AWS's aws-bedrock-token-generator 1.1, read in November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.federation.exchange import Answer, Means, Minted, credential

_LIFE: Final = 3600


def mint(settings: Mapping[str, str], means: Means, now: int) -> Minted:
    """See `chalicelib.federation.federations.MINTS`. Nobody is asked: AWS checks the signature when the token is used."""
    value, expires = means.bedrock_token(settings["region"], settings.get("role", ""), _LIFE)
    return credential(value, min(expires, now + _LIFE), now, Answer(200, {}, b""))
