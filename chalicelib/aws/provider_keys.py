"""Provider keys in Secrets Manager: one secret for each key, each version with its value, origin and header together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.aws import round_trip
from chalicelib.aws.round_trip import AwsClient, Request, RequestFailed, Steps
from chalicelib.errors import Unavailable
from chalicelib.providers.errors import ProviderKeyNotSet, ProviderKeyUnavailable
from chalicelib.providers.keys import ProviderKey

_FIELDS = ("version", "origin", "header", "prefix", "value")
_LEAST = 32
"""Least length of a version's id in Secrets Manager."""


class SecretsManagerProviderKeys:
    """`chalicelib.providers.keys.ProviderKeys`. prefix: of the secrets' names.

    The last version read of each key is cached, and used for exactly that version.
    """

    def __init__(self, client: AwsClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._known: dict[str, ProviderKey] = {}
        self._asked_ahead: set[str] = set()

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`. A version that is not cached takes one round trip."""
        key = self._known.get(name)
        if key is None or key.version != version:
            key = self._known[name] = self._read(name, version)
        return key

    def ahead(self, name: str) -> list[Steps[None]]:
        """Return what reads a key's latest version into the cache, beside the state that says which is in force.

        Once for each name, and not where any is cached. It raises nothing: `get` reads what it has not found.
        """
        # SECURITY: a caller who is refused must not have the same secret read again and again (test_a_secret_is_asked_for_ahead_once).
        if name in self._known or name in self._asked_ahead:
            return []
        self._asked_ahead.add(name)
        return [self._reading_ahead(name)]

    def _reading_ahead(self, name: str) -> Steps[None]:
        try:
            answer = yield Request("GetSecretValue", {"SecretId": f"{self._prefix}/{name}"})
            stored = json.loads(answer["SecretString"])
            self._known.setdefault(name, stored_key(stored, stored["version"]))
        except (RequestFailed, ValueError, KeyError, TypeError, RecursionError):
            return

    def _read(self, name: str, version: str) -> ProviderKey:
        if not version:
            raise ProviderKeyNotSet  # it was never set
        wanted = {"SecretId": f"{self._prefix}/{name}", "VersionId": version_id(version)}
        try:
            [answer] = round_trip.make(self._client, round_trip.ask("GetSecretValue", **wanted))
            return stored_key(json.loads(answer["SecretString"]), version)
        except (Unavailable, ValueError, KeyError, TypeError, RecursionError) as fault:
            # SECURITY: AWS's word at most, since a JSON error holds the whole text (test_what_cannot_be_read_is_never_quoted).
            raise ProviderKeyUnavailable(aws_code=getattr(fault, "aws_code", "")) from None


def version_id(version: str) -> str:
    """Return Secrets Manager's id of a version, which CloudTrail shows."""
    return f"keybroker-{version}".ljust(_LEAST, "-")


def stored_key(stored: Mapping[str, Any], version: str) -> ProviderKey:
    """Return the stored key; raises KeyError or TypeError if a field is missing or it is another version."""
    fields = {name: stored[name] for name in _FIELDS}
    if not all(isinstance(value, str) for value in fields.values()) or fields["version"] != version:
        raise TypeError("not this version")  # `null` must not become a key that reads "None"
    return ProviderKey(**fields)
