"""Provider keys written to Secrets Manager, with botocore: one secret for each key, each version whole."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from typing import Any

import botocore.exceptions

from chalicelib.aws.provider_keys import version_id
from chalicelib.providers.errors import ProviderKeysUnwritable
from chalicelib.providers.keys import ProviderKey

_FAILURES = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)

Client = Any
"""A client of Secrets Manager; there is no package of its types here."""


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
        version = {"SecretId": f"{self._prefix}/{name}", "ClientRequestToken": version_id(key.version)}
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
