"""Which tokens' signatures were verified before: for exactly the same text, and the very same key.

A caller sends one token with every call for minutes, and a signature is the dearest thing that is checked of it. Nothing
else is remembered: times, audience, scope and whatever can be taken back are looked at anew in every call.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from chalicelib.tokens.verify import Signed

LIMIT = 1_000
"""Tokens at most; the one that was verified first goes first."""


class SeenSignatures:
    """Remembers no token's text, only what it states and its SHA-256."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, Signed] = OrderedDict()

    def find(self, unverified_token: str) -> Signed | None:
        """Return what a text states if its signature was verified, with the key that it was verified with."""
        # SECURITY: the whole text, since its first two segments say nothing of the signature
        # (test_another_text_that_states_the_same_is_not_taken_for_it).
        return self._seen.get(_digest(unverified_token))

    def add(self, token: str, signed: Signed) -> None:
        """Remember a text whose signature holds."""
        self._seen[_digest(token)] = signed
        while len(self._seen) > LIMIT:
            self._seen.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
