"""Data keys of a symmetric KMS key: AES-256 keys that are stored wrapped by it, and unwrapped by nobody but KMS."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import botocore.exceptions

from chalicelib.aws import clients
from chalicelib.aws.errors import error_code
from chalicelib.aws.round_trip import THROTTLED
from chalicelib.aws.threads import RequestThreads

SECONDS = 10.0
"""Seconds that a request takes at most, with finding credentials, connecting and trying again."""
_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]{1,128}")
_TRANSIENT = THROTTLED.union(
    "DependencyTimeoutException InternalFailure KMSInternalException KeyUnavailableException".split(),  # noqa: SIM905
    "RequestTimeout RequestTimeoutException ServiceUnavailable ServiceUnavailableException".split(),  # noqa: SIM905
)
"""KMS's codes that say nothing about the key or who asks. (KeyUnavailableException: its own store does not answer.)"""
_OUT_OF_REACH = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.MetadataRetrievalError,
)
"""What a network does. Anything else of botocore's is this machine's set-up: credentials that are missing, say."""
_THREADS = RequestThreads(2)


class DataKey(NamedTuple):
    """plain: 32 bytes. wrapped: what KMS unwraps to them."""

    plain: bytes
    wrapped: bytes


class DataKeyFaultError(Exception):
    """KMS gave no key. refused: whether trying again helps nothing. The text: AWS's word for it, or what failed here."""

    def __init__(self, word: str, *, refused: bool) -> None:
        super().__init__(word)
        self.refused = refused


class DataKeys:
    """Those of one KMS key. Each is bound to a context, which KMS wants again to unwrap it, and writes into CloudTrail."""

    def __init__(self, key: str, make: Callable[[str, str], Any] = clients.patient) -> None:
        """key: the ARN of the key itself, since an alias may come to name another. Raises ValueError for anything else."""
        found = _ARN.fullmatch(key)
        if not found:
            raise ValueError("not the ARN of a KMS key, arn:aws:kms:REGION:ACCOUNT:key/ID")
        self._key = key
        self._client = functools.cache(lambda: make("kms", found[1]))

    def new(self, context: Mapping[str, str]) -> DataKey:
        """Return a new key; raises DataKeyFaultError."""
        answer = self._ask("generate_data_key", KeySpec="AES_256", EncryptionContext=dict(context))
        return DataKey(_bytes(answer, "Plaintext", 32), _bytes(answer, "CiphertextBlob"))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return a key; raises DataKeyFaultError."""
        # SECURITY: the key is named, or KMS would unwrap what was wrapped by any key that we may use, such as an
        # attacker's (test_what_another_key_wrapped_is_refused).
        return _bytes(self._ask("decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context)), "Plaintext", 32)

    def _ask(self, operation: str, **members: object) -> Any:  # noqa: ANN401  botocore's answers have no types
        def ask() -> Any:  # noqa: ANN401  as that
            return getattr(self._client(), operation)(KeyId=self._key, **members)

        try:
            [answer] = _THREADS.answers([ask], time.monotonic() + SECONDS)
        except TimeoutError:
            raise DataKeyFaultError(f"no answer within {SECONDS:.0f} seconds", refused=False) from None
        except botocore.exceptions.ClientError as error:
            # SECURITY: its code alone, and no cause: AWS's text can quote what was sent (test_a_refusal_quotes_nothing).
            word = error_code(error)
            raise DataKeyFaultError(word or "an unknown error", refused=word not in _TRANSIENT) from None
        except botocore.exceptions.BotoCoreError as error:
            raise DataKeyFaultError(type(error).__name__, refused=not isinstance(error, _OUT_OF_REACH)) from None
        return answer


def _bytes(answer: Any, name: str, length: int | None = None) -> bytes:  # noqa: ANN401  as above
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, bytes) or not value or (length and len(value) != length):
        raise DataKeyFaultError("an answer of another shape", refused=False)
    return value
