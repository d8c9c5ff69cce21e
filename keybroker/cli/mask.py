"""Masks secrets in a stream of bytes, wherever the stream is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = b"***"


class Mask:
    """Replaces each secret with `***`. Holds back only what may be the start of one, so that a prompt is not delayed."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # The longest first: one secret may be the start of another.
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._any = re.compile(b"|".join(map(re.escape, self._secrets)) or b"(?!)")
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the part of the input so far that is safe to write."""
        text = self._any.sub(MASK, self._held + chunk)
        keep = self._partial(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> bytes:
        """Return what was held back: the stream has ended, so it was not the start of a secret."""
        held, self._held = self._held, b""
        return held

    def _partial(self, text: bytes) -> int:
        """Return how many bytes at the end of the text are the start of a secret."""
        # SECURITY: a secret that is split across two reads is masked, too (tests/keybroker/cli/test_mask.py).
        most = max((len(secret) - 1 for secret in self._secrets), default=0)
        for size in range(min(most, len(text)), 0, -1):
            if any(secret.startswith(text[-size:]) for secret in self._secrets):
                return size
        return 0
