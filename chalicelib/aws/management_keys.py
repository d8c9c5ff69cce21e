"""The credentials with which keys are replaced, in Secrets Manager: secrets of a name that the edge's role cannot read."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import botocore.exceptions

from chalicelib.aws.provider_keys import stored_key, version_id
from chalicelib.providers.errors import ProviderKeyUnavailable
from chalicelib.providers.keys import ProviderKey


def management_prefix(prefix: str) -> str:
    """Return how their secrets' names begin. No stage's own prefix can have the dot, so no other stage's role reads them."""
    return f"{prefix}.management"


class SecretsManagerManagementKeys:
    """`chalicelib.providers.keys.ProviderKeys`. prefix: the stage's. Nothing is cached: they are read at a rotation alone."""

    def __init__(self, client: Callable[[], Any], prefix: str) -> None:
        self._client = functools.cache(client)
        self._prefix = management_prefix(prefix)

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`."""
        try:
            answer = self._client().get_secret_value(SecretId=f"{self._prefix}/{name}", VersionId=version_id(version))
            return stored_key(json.loads(answer["SecretString"]), version)
        except (
            botocore.exceptions.ClientError,
            botocore.exceptions.BotoCoreError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
        ):
            # SECURITY: no cause, since a JSON error holds the whole text (test_what_cannot_be_read_is_never_quoted).
            raise ProviderKeyUnavailable from None
