"""Remembers which signatures verified, each for exactly one token text and one key object.

An SDK sends the same token with every call for minutes, and the signature is the most expensive check of a call. Only
the signature is remembered: times, audience, scope and revocations are checked again on every call.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from chalicelib.tokens.verify import VerifiedSignature

LIMIT = 1_000
"""Tokens at most; the one that was added first is dropped first."""


class SignatureCache:
    """Holds SHA-256 digests and what the tokens state, never a token's text."""

    def __init__(self) -> None:
        self._verified: OrderedDict[bytes, VerifiedSignature] = OrderedDict()

    def find(self, unverified_token: str) -> VerifiedSignature | None:
        """Return what this token text states, with the key that verified it; None if it is not remembered."""
        # SECURITY: the whole text, since its first two segments say nothing of the signature
        # (test_another_text_of_the_same_claims).
        return self._verified.get(_digest(unverified_token))

    def add(self, token: str, verified: VerifiedSignature) -> None:
        """Remember a token text whose signature verified."""
        self._verified[_digest(token)] = verified
        while len(self._verified) > LIMIT:
            self._verified.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
