"""Sealing by a passphrase: scrypt and AES-256-GCM.

A sealed text: the mark, and in base64url the salt (16 bytes), the nonce (12 bytes) and the ciphertext, which is bound to the
file's name.
"""

from __future__ import annotations

import base64
import functools
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from local import secret_file
from local.errors import PassphraseUnusable

MARK = "keybroker-sealed:1:"
_SALT, _NONCE = 16, 12
_SHORTEST = 16
"""Characters of a passphrase at least: whoever has a copy of the file can try as many as they like."""


class Passphrase:
    """`local.sealing.Sealing` by a passphrase."""

    mark, kind = MARK, "passphrase"

    def __init__(self, text: str) -> None:
        """Raises PassphraseUnusable for one that is too short."""
        if len(text.strip()) < _SHORTEST:
            raise PassphraseUnusable(hint=f"it has fewer than {_SHORTEST} characters")
        self._text = text.strip()

    @classmethod
    def read(cls, path: Path) -> Passphrase:
        """Read one from a file of mode 0600; raises Unavailable."""
        try:
            return cls(secret_file.read(path))
        except PassphraseUnusable as fault:
            raise PassphraseUnusable(hint=f"{path}: {fault.hint}") from None

    def seal(self, name: str, text: str, stored: str = "") -> str:  # noqa: ARG002  each text has a key of its own
        """See `Sealing.seal`."""
        # The salt is the process's own: a key that is derived anew for each write would take a tenth of a second each.
        nonce, salt = secrets.token_bytes(_NONCE), _own_salt()
        content = AESGCM(_key(self._text, salt)).encrypt(nonce, text.encode(), name.encode())
        return MARK + base64.urlsafe_b64encode(salt + nonce + content).decode()

    def open(self, name: str, sealed: str) -> str:
        """See `Sealing.open`."""
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(MARK))
            salt, nonce, content = raw[:_SALT], raw[_SALT : _SALT + _NONCE], raw[_SALT + _NONCE :]
            return AESGCM(_key(self._text, salt)).decrypt(nonce, content, name.encode()).decode()
        except (ValueError, InvalidTag):
            # SECURITY: no cause, and nothing of the content (test_another_passphrase_opens_nothing).
            raise PassphraseUnusable(hint=f"{name} was sealed with another passphrase, or was changed") from None


@functools.lru_cache(maxsize=1)
def _own_salt() -> bytes:
    return secrets.token_bytes(_SALT)


@functools.lru_cache(maxsize=8)
def _key(passphrase: str, salt: bytes) -> bytes:
    """Derive the key: 32 MiB and about a tenth of a second for each guess."""
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
