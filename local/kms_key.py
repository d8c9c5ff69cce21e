"""Sealing by a KMS key: AES-256-GCM with a data key that the KMS key wraps, one for each file.

A sealed text: the mark, and in base64url the wrapped data key, a full stop, the nonce (12 bytes) and the ciphertext, which is
bound to the file's name, as the data key is by its encryption context `keybroker-file`.
"""

from __future__ import annotations

import base64
import functools
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.aws.data_keys import DataKeyFaultError, DataKeys
from local.errors import KmsKeyUnusable, KmsUnavailable
from local.sealing import KMS_MARK as MARK

_NONCE = 12
UnwrappedKeys = Mapping[tuple[str, str, str], bytes]
"""Data keys by KMS key, file and wrapped key."""
_UNWRAPPED: dict[tuple[str, str, str], bytes] = {}
"""Those that this process knows: KMS is asked at starts, and not while calls wait."""


class KmsKey:
    """`local.sealing.Sealing` by the KMS key of an ARN."""

    mark, kind = MARK, "kms"

    def __init__(self, arn: str) -> None:
        """Raises KmsKeyUnusable for an ARN that is none."""
        self._arn = arn
        try:
            self._keys = _data_keys(arn)
        except ValueError as error:
            raise KmsKeyUnusable(hint=str(error)) from None

    def seal(self, name: str, text: str, stored: str = "") -> str:
        """See `Sealing.seal`: by the data key of what is stored, so that who knows that one reads on without KMS."""
        wrapped = stored.removeprefix(MARK).partition(".")[0] if stored.startswith(MARK) else self._new(name)
        nonce = secrets.token_bytes(_NONCE)
        content = AESGCM(self._unwrapped(name, wrapped)).encrypt(nonce, text.encode(), name.encode())
        return f"{MARK}{wrapped}.{base64.urlsafe_b64encode(nonce + content).decode()}"

    def open(self, name: str, sealed: str) -> str:
        """See `Sealing.open`."""
        wrapped, _, rest = sealed.removeprefix(MARK).partition(".")
        key = self._unwrapped(name, wrapped)
        try:
            raw = base64.urlsafe_b64decode(rest)
            return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], name.encode()).decode()
        except (ValueError, InvalidTag):
            # SECURITY: no cause, and nothing of the content (test_what_was_changed_is_refused).
            raise KmsKeyUnusable(hint=f"{name} was changed since it was sealed") from None

    def _new(self, name: str) -> str:
        try:
            made = self._keys.new(_context(name))
        except DataKeyFaultError as fault:
            raise self._fault(fault) from None
        wrapped = base64.urlsafe_b64encode(made.wrapped).decode()
        _UNWRAPPED[self._arn, name, wrapped] = made.plain
        return wrapped

    def _unwrapped(self, name: str, wrapped: str) -> bytes:
        known = _UNWRAPPED.get((self._arn, name, wrapped))
        if known is not None:
            return known
        try:
            found = self._keys.unwrap(base64.urlsafe_b64decode(wrapped), _context(name))
        except ValueError:
            raise KmsKeyUnusable(hint=f"{name} was changed since it was sealed") from None
        except DataKeyFaultError as fault:
            raise self._fault(fault) from None
        _UNWRAPPED[self._arn, name, wrapped] = found
        return found

    def _fault(self, fault: DataKeyFaultError) -> KmsKeyUnusable | KmsUnavailable:
        if fault.refused:
            return KmsKeyUnusable(aws_code=str(fault), hint=f"KMS does not let us use {self._arn}: {fault}")
        return KmsUnavailable(aws_code=str(fault), hint=f"{self._arn} did not answer: {fault}")


def unwrapped() -> UnwrappedKeys:
    """Return the data keys that this process knows, for the processes that it starts."""
    return dict(_UNWRAPPED)


def know(found: UnwrappedKeys) -> None:
    """Take over the data keys of the process that started this one, which then needs no KMS."""
    _UNWRAPPED.update(found)


@functools.lru_cache(maxsize=8)
def _data_keys(arn: str) -> DataKeys:
    return DataKeys(arn)


def _context(name: str) -> dict[str, str]:
    return {"keybroker-file": name}
