"""The keys of our own issuer `/federation` on one machine: a file of mode 0600. Whoever reads it is this installation at providers.

A static root, unlike the credentials that are minted with it: on AWS nothing of it can be read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from chalicelib.federation import assertion
from chalicelib.federation.assertion import AHEAD_SECONDS, FederationKey
from chalicelib.tokens import jwk
from local import sealed_file
from local.errors import FederationKeysUnusable

ALGORITHMS: Final = ("ES256", "RS256")
_MEMBERS: Final = frozenset({"kid", "algorithm", "made", "ahead", "pem"})
_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class _Stored(NamedTuple):
    """What the file holds. keys: in the order in which they were made. apps: private keys of Apps, by client id."""

    keys: list[dict[str, Any]]
    apps: Mapping[str, str]


class FederationKeyFile:
    """Signs assertions, and says with which keys. The file is made at the first need of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, claims: Mapping[str, object], algorithms: Sequence[str], now: int) -> str:
        """Return claims signed with the first of these algorithms that there is a key of; raises Unavailable."""
        stored = self._stored(now)
        algorithm = next((one for one in ALGORITHMS if one in algorithms), "")
        key = assertion.signing([_public(one) for one in stored], algorithm, now)
        if key is None:
            raise FederationKeysUnusable(hint=f"{self._path} has no key for {' or '.join(algorithms)}")
        pem = next(one["pem"] for one in stored if one["kid"] == key.kid)
        return jwt.encode(dict(claims), pem, algorithm, {"kid": key.kid, "typ": "JWT"})

    def published(self, now: int) -> tuple[FederationKey, ...]:
        """Return the keys that belong into the key set, none before any was needed; raises Unavailable."""
        if not self._path.exists():
            return ()
        return assertion.published([_public(one) for one in self._read().keys], now)

    def rotate(self, now: int, ahead: int = AHEAD_SECONDS) -> tuple[FederationKey, ...]:
        """Make a new key of each algorithm, which signs once it was published for long enough; drop those that are over.

        ahead: seconds for which they are published first; the first ones ever sign at once. Return all that are published
        then. Raises Unavailable.
        """
        with self._alone():
            found = self._read() if self._path.exists() else _Stored([], {})
            made = [*found.keys, *_made_all(now, ahead if found.keys else 0)]
            kept = {one.kid for one in assertion.published([_public(one) for one in made], now)}
            self._write(found._replace(keys=[one for one in made if one["kid"] in kept]))
        return self.published(now)

    def replace(self, now: int) -> tuple[FederationKey, ...]:
        """Make a new key of each algorithm, which signs at once, and drop all before: theirs is a leak. Raises Unavailable."""
        with self._alone():
            found = self._read() if self._path.exists() else _Stored([], {})
            # SECURITY: nothing that was there stays, in the file or in the key set (test_what_leaked_is_gone).
            self._write(found._replace(keys=_made_all(now, 0)))
        return self.published(now)

    def apps(self) -> tuple[str, ...]:
        """Return the client ids of the Apps whose keys are kept; raises Unavailable."""
        return tuple(self._read().apps) if self._path.exists() else ()

    def make(self, now: int) -> None:
        """Make the first keys, unless there are any; raises Unavailable."""
        self._stored(now)

    def app_key(self, client: str) -> str | None:
        """Return the private key (PEM) of an App, None if it was never set; raises Unavailable."""
        return self._read().apps.get(client) if self._path.exists() else None

    def set_app_key(self, client: str, pem: str) -> None:
        """Keep the private key of an App; raises Unavailable, ValueError for what is no RSA key."""
        if not isinstance(serialization.load_pem_private_key(pem.encode(), None), rsa.RSAPrivateKey):
            raise ValueError("no RSA key")  # noqa: TRY004  of what it holds
        with self._alone():
            found = self._read() if self._path.exists() else _Stored([], {})
            self._write(found._replace(apps={**found.apps, client: pem}))

    def _stored(self, now: int) -> list[dict[str, Any]]:
        """Return the keys, which are made at the first need of them."""
        if not (self._path.exists() and self._read().keys):
            with self._alone():
                found = self._read() if self._path.exists() else _Stored([], {})
                if not found.keys:
                    self._write(found._replace(keys=_made_all(now, 0)))
        return self._read().keys

    def _read(self) -> _Stored:
        try:
            stored = json.loads(sealed_file.read(self._path))
            keys = [
                {"ahead": AHEAD_SECONDS, **{name: one[name] for name in one.keys() & _MEMBERS}}
                for one in stored["keys"]
            ]
            if any(one.keys() != _MEMBERS for one in keys):
                raise KeyError
            return _Stored(keys, {str(name): str(pem) for name, pem in stored["apps"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            # SECURITY: no cause, since a JSON error holds the whole text (test_a_file_of_no_use_is_not_quoted).
            raise FederationKeysUnusable(hint=f"{self._path} is not a file of federation keys") from None

    def _write(self, stored: _Stored) -> None:
        try:
            sealed_file.write(self._path, json.dumps(stored._asdict()))
        except OSError as error:
            raise FederationKeysUnusable(hint=str(error)) from None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(open(self._path.with_suffix(".lock"), "a", opener=_private))
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise FederationKeysUnusable(hint=str(error)) from None
            yield


def _made_all(now: int, ahead: int) -> list[dict[str, Any]]:
    return [_made(one, now, ahead) for one in ALGORITHMS]


def _made(algorithm: str, now: int, ahead: int) -> dict[str, Any]:
    key: _Private
    if algorithm == "RS256":
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return {
        "kid": jwk.thumbprint(_jwk(key)),
        "algorithm": algorithm,
        "made": now,
        "ahead": ahead,
        "pem": key.private_bytes(*form).decode(),
    }


def _jwk(key: _Private) -> dict[str, str]:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = ECAlgorithm.to_jwk(public, as_dict=True)
    return {name: str(value) for name, value in found.items() if name in ("kty", "crv", "x", "y", "n", "e")}


def _public(stored: Mapping[str, Any]) -> FederationKey:
    key = serialization.load_pem_private_key(stored["pem"].encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError
    shown = {**_jwk(key), "kid": stored["kid"], "alg": stored["algorithm"], "use": "sig"}
    return FederationKey(stored["kid"], stored["algorithm"], stored["made"], shown, stored["ahead"])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
