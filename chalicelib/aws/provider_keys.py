"""Provider keys in Secrets Manager: one secret for each key, each version with its value, origin and header together."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import botocore.exceptions

from chalicelib.aws.dynamodb import run_parallel
from chalicelib.errors import Unavailable
from chalicelib.providers.errors import ProviderKeyNotSet, ProviderKeysUnwritable, ProviderKeyUnavailable
from chalicelib.providers.keys import ProviderKey

_FIELDS = ("version", "origin", "header", "prefix", "value")
_LEAST = 32
"""Least length of a version's id in Secrets Manager."""

_FAILURES = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)

Client = Any
"""A client of Secrets Manager; there is no package of its types here."""


class SecretsManagerProviderKeys:
    """`chalicelib.providers.keys.ProviderKeys`. client: called when a key is first read. prefix: of the secrets' names.

    The last version read of each key is cached, and used for exactly that version.
    """

    def __init__(self, client: Callable[[], Client], prefix: str) -> None:
        self._client = functools.cache(client)
        self._prefix = prefix
        self._known: dict[str, ProviderKey] = {}

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`. A version that is not cached takes one request, of a second at most."""
        key = self._known.get(name)
        if key is None or key.version != version:
            key = self._known[name] = self._read(name, version)
        return key

    def _read(self, name: str, version: str) -> ProviderKey:
        if not version:
            raise ProviderKeyNotSet  # it was never set
        wanted = {"SecretId": f"{self._prefix}/{name}", "VersionId": _version_id(version)}
        try:
            answer = run_parallel(functools.partial(self._client().get_secret_value, **wanted))[0]
            return _key(json.loads(answer["SecretString"]), version)
        except (Unavailable, *_FAILURES, ValueError, KeyError, TypeError, RecursionError):
            # SECURITY: no cause, since a JSON error holds the whole text (test_what_cannot_be_read_is_never_quoted).
            raise ProviderKeyUnavailable from None


class SecretsManagerKeyStore:
    """`chalicelib.providers.keys.ProviderKeyStore`. kms_key: ARN or alias of the key that encrypts new secrets."""

    def __init__(self, client: Callable[[], Client], prefix: str, kms_key: str) -> None:
        self._client = functools.cache(client)
        self._prefix = prefix
        self._kms_key = kms_key

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`. Putting the same again changes nothing; the first version creates the secret."""
        kept = {"version": key.version, "origin": key.origin, "header": key.header, "prefix": key.prefix}
        text = json.dumps({**kept, "value": key.reveal().removeprefix(key.prefix)})
        version = {"SecretId": f"{self._prefix}/{name}", "ClientRequestToken": _version_id(key.version)}
        try:
            client = self._client()
            try:
                answer = client.put_secret_value(SecretString=text, **version)
            except client.exceptions.ResourceNotFoundException:
                self._create(version["SecretId"])
                answer = client.put_secret_value(SecretString=text, **version)
            written = (
                answer.get("VersionId") == version["ClientRequestToken"]
            )  # botocore reads a missing answer as an empty one
        except _FAILURES:
            written = False
        if not written:
            # SECURITY: no cause, since the request holds the key (test_what_cannot_be_written_is_never_quoted).
            raise ProviderKeysUnwritable

    def _create(self, secret: str) -> None:
        """Create a secret without a version, unless another administrator has just created it."""
        client = self._client()
        with contextlib.suppress(client.exceptions.ResourceExistsException):
            client.create_secret(Name=secret, KmsKeyId=self._kms_key)


def _version_id(version: str) -> str:
    """Return Secrets Manager's id of a version, which CloudTrail shows."""
    return f"keybroker-{version}".ljust(_LEAST, "-")


def _key(stored: Mapping[str, Any], version: str) -> ProviderKey:
    """Return the stored key; raises KeyError or TypeError if a field is missing or it is another version."""
    fields = {name: stored[name] for name in _FIELDS}
    if not all(isinstance(value, str) for value in fields.values()) or fields["version"] != version:
        raise TypeError("not this version")  # `null` must not become a key that reads "None"
    return ProviderKey(**fields)
