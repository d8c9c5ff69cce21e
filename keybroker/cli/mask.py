"""Takes secrets out of a stream of bytes, wherever the stream is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = b"***"


class Mask:
    """Replaces each secret by `***`. Holds back only what may be the beginning of one, so that a prompt is not delayed."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # The longest first: one secret may be the beginning of another.
        self._secrets = sorted((one for one in secrets if one), key=len, reverse=True)
        self._any = re.compile(b"|".join(map(re.escape, self._secrets)) or b"(?!)")
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what can go on of what came so far."""
        text = self._any.sub(MASK, self._held + chunk)
        keep = self._beginning(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> bytes:
        """Return what was held back: the stream has ended, so it was the beginning of nothing."""
        held, self._held = self._held, b""
        return held

    def _beginning(self, text: bytes) -> int:
        """Return how many bytes at the end of the text are the beginning of a secret."""
        # SECURITY: a secret that comes in two reads is masked all the same (tests/keybroker/cli/test_mask.py).
        most = max((len(secret) - 1 for secret in self._secrets), default=0)
        for size in range(min(most, len(text)), 0, -1):
            if any(secret.startswith(text[-size:]) for secret in self._secrets):
                return size
        return 0
