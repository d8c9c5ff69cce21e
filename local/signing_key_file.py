"""The broker's signing keys on one machine: a file of mode 0600 with one key after the other, the oldest first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from chalicelib.tokens.errors import InvalidTokenError, SigningKeyMalformed, SigningUnavailable
from chalicelib.tokens.jwk import VerifyingKey
from local import sealed_file
from local.errors import SecretFileUnreadable
from local.signing_key import SigningKey

MOST_KEYS = 8
"""Keys in a file at most; a rotation has two."""
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)

_Version = tuple[int, int, int]


class SigningKeyFile:
    """Signs issued tokens (`chalicelib.tokens.signer.Signer`), verifies them (`chalicelib.tokens.issued.SigningKeys`), and holds the keys.

    It reads the file again once it has been replaced and a key is asked for that it does not know: another process may have
    made it. It is also `chalicelib.tokens.key_list.SigningKeyStore`.
    """

    def __init__(self, path: Path) -> None:
        """Read the keys; raises Unavailable if the file is missing, readable by others, or holds anything but P-256 keys."""
        self._path = path
        self._mine, self._is_alone = threading.RLock(), False
        self._version = self._current_version()
        self._keys: Mapping[str, SigningKey] = _parse(sealed_file.read(path))

    @staticmethod
    def create(path: Path) -> SigningKeyFile:
        """Create the file with one key unless it exists, and read it."""
        sealed_file.write_once(path, SigningKey.generate().pem)
        sealed_file.seal(path)
        return SigningKeyFile(path)

    def kid(self, wanted: str = "") -> str:
        """See `Signer.kid`; the oldest one is the one that is configured."""
        if not wanted:
            return next(iter(self._keys))
        if self._find(wanted) is None:
            raise SigningUnavailable(hint=f"{self._path} does not have the signing key {wanted}, which the state names")
        return wanted

    def begin(self, header: Mapping[str, str], claims: Mapping[str, object]) -> SignedToken:
        """See `Signer.begin`; here the signature is made at once. Of a kid that `kid` did not return, no token verifies."""
        key = self._find(header.get("kid", "")) or next(iter(self._keys.values()))
        return SignedToken(key.sign(header, claims))

    def find(self, kid: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's; what a kid stands for never changes
        """See `SigningKeys.find`."""
        key = self._find(kid)
        if key is None:
            raise InvalidTokenError("kid_unknown")
        return key.verifying

    @property
    def public_jwk(self) -> Mapping[str, str]:
        """The public half of the oldest key."""
        return next(iter(self._keys.values())).public_jwk

    def public_jwks(self, kids: Iterable[str]) -> Sequence[Mapping[str, str]]:
        """Return the public halves of those keys that are there."""
        return [key.public_jwk for kid in kids if (key := self._find(kid)) is not None]

    def published(self) -> Sequence[str]:
        """See `SigningKeyStore.published`."""
        self._refresh()
        return tuple(self._keys)

    def spare(self, known: frozenset[str]) -> str:
        """See `SigningKeyStore.spare`; one that was made before and never listed is taken first."""
        with self._changing() as keys:
            left = [kid for kid in keys if kid not in known]
            if not left:
                if len(keys) >= MOST_KEYS:
                    raise SigningKeyMalformed(
                        hint=f"{self._path} has {MOST_KEYS} keys; retire those that are not needed"
                    )
                made = SigningKey.generate()
                keys[made.kid] = made
                left = [made.kid]
        return left[0]

    def keep_only(self, kids: Collection[str]) -> None:
        """See `SigningKeyStore.keep_only`. Without a key, a file is no file of keys."""
        with self._changing() as keys:
            if not keys.keys().isdisjoint(kids):
                for kid in keys.keys() - kids:
                    del keys[kid]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """See `SigningKeyStore.alone`; may be entered again within itself. Raises Unavailable."""
        with self._mine:
            if self._is_alone:
                yield
                return
            try:
                lock = open(self._path.with_suffix(".lock"), "a", opener=_private)  # noqa: SIM115  closed below
            except OSError as error:
                raise SecretFileUnreadable(hint=str(error)) from error
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._is_alone = True
                try:
                    yield
                finally:
                    self._is_alone = False

    def _find(self, kid: str) -> SigningKey | None:
        if kid not in self._keys:
            self._refresh()
        return self._keys.get(kid)

    def _refresh(self) -> None:
        # The version first: of a file that is replaced in between, the new one is read the next time.
        version = self._current_version()
        if version != self._version:
            self._keys, self._version = _parse(sealed_file.read(self._path)), version

    def _current_version(self) -> _Version:
        try:
            found = self._path.stat()
        except OSError as error:
            raise SecretFileUnreadable(hint=str(error)) from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, SigningKey]]:
        """Yield the keys, to be changed and stored again, to one process at a time."""
        with self.alone():
            try:
                keys = dict(_parse(sealed_file.read(self._path)))
                before = tuple(keys)
                yield keys
                if tuple(keys) != before:
                    sealed_file.write(self._path, "".join(one.pem for one in keys.values()))
            except OSError as error:
                raise SecretFileUnreadable(hint=str(error)) from error
        self._refresh()


class SignedToken:
    """A signature that is already made: `chalicelib.tokens.signer.PendingSignature`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def result(self) -> str:
        """See `PendingSignature.result`."""
        return self._text


def _parse(text: str) -> Mapping[str, SigningKey]:
    """Return the keys of a file by kid; raises SigningKeyMalformed unless it is nothing but keys."""
    keys = [SigningKey(found.group()) for found in _PEM.finditer(text)]
    # SECURITY: half a file, or one with something between its keys, is not read in part (test_a_file_of_keys_alone).
    if not keys or _PEM.sub("", text).strip():
        raise SigningKeyMalformed(hint="signing-key.pem is not a file of signing keys alone")
    return {one.kid: one for one in keys}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
