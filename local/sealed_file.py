"""Files of secrets that are encrypted where there is a passphrase: scrypt and AES-256-GCM.

The passphrase is in the file that KEYBROKER_PASSPHRASE_FILE names, or in systemd's credential `keybroker-passphrase`. Without
one a file is stored as it is. With one, a file that is not sealed yet is read, and sealed by the next start.

A sealed file: `keybroker-sealed:1:` and in base64url the salt (16 bytes), the nonce (12 bytes) and the ciphertext, which is
bound to the file's name.
"""

from __future__ import annotations

import base64
import functools
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from local import secret_file
from local.errors import PassphraseUnusable

VARIABLE = "KEYBROKER_PASSPHRASE_FILE"
CREDENTIAL = "keybroker-passphrase"
_MARK = "keybroker-sealed:1:"
_SALT, _NONCE = 16, 12
_SHORTEST = 16
"""Characters of a passphrase at least: whoever has a copy of the file can try as many as they like."""


def read(path: Path) -> str:
    """Return a file's text; raises Unavailable if it cannot be read, or is sealed with another passphrase or with none."""
    text = secret_file.read(path)
    if not text.startswith(_MARK):
        return text
    passphrase = _passphrase()
    if passphrase is None:
        raise PassphraseUnusable(hint=f"{path} is sealed: name its passphrase's file in {VARIABLE}")
    try:
        sealed = base64.urlsafe_b64decode(text.removeprefix(_MARK))
        salt, nonce, content = sealed[:_SALT], sealed[_SALT : _SALT + _NONCE], sealed[_SALT + _NONCE :]
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, content, path.name.encode()).decode()
    except (ValueError, InvalidTag):
        # SECURITY: no cause, and nothing of the content (test_another_passphrase_opens_nothing).
        raise PassphraseUnusable(hint=f"{path} was sealed with another passphrase, or was changed") from None


def write(path: Path, text: str) -> None:
    """Replace a file atomically, sealed if there is a passphrase; raises Unavailable or OSError."""
    secret_file.write(path, _seal(path, text))


def write_once(path: Path, text: str) -> str:
    """Create a file unless it exists, as `write` does, and return its text; of several writers at once, one wins."""
    secret_file.write_once(path, _seal(path, text))
    return read(path)


def seal(path: Path) -> None:
    """Seal a file that is not, if there is a passphrase; raises Unavailable or OSError."""
    if _passphrase() is not None and not secret_file.read(path).startswith(_MARK):
        write(path, read(path))


def _seal(path: Path, text: str) -> str:
    passphrase = _passphrase()
    if passphrase is None:
        return text
    # The salt is the process's own: a key that is derived anew for each write would take a tenth of a second each.
    nonce, salt = secrets.token_bytes(_NONCE), _own_salt()
    content = AESGCM(_key(passphrase, salt)).encrypt(nonce, text.encode(), path.name.encode())
    return _MARK + base64.urlsafe_b64encode(salt + nonce + content).decode()


def _passphrase() -> str | None:
    """Return the passphrase, read anew each time; None if none is named. Raises Unavailable for one of no use."""
    named, credentials = os.environ.get(VARIABLE, ""), os.environ.get("CREDENTIALS_DIRECTORY", "")
    credential = Path(credentials) / CREDENTIAL if credentials else None
    if named:
        text = secret_file.read(Path(named))
    elif credential is not None and credential.exists():
        text = credential.read_text(encoding="utf-8")  # its mode is systemd's affair
    else:
        return None
    if len(text.strip()) < _SHORTEST:
        raise PassphraseUnusable(hint=f"it has fewer than {_SHORTEST} characters")
    return text.strip()


@functools.lru_cache(maxsize=1)
def _own_salt() -> bytes:
    return secrets.token_bytes(_SALT)


@functools.lru_cache(maxsize=8)
def _key(passphrase: str, salt: bytes) -> bytes:
    """Derive the key: 32 MiB and about a tenth of a second for each guess."""
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
