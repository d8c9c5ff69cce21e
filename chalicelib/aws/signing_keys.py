"""The public keys of our own tokens in DynamoDB, published by administrators: what writes them, with botocore."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_item
from chalicelib.aws.published_keys import KEY, MARK, PublishedSigningKeys
from chalicelib.tokens.errors import NoSpareSigningKey


class DynamoSigningKeys(PublishedSigningKeys):
    """The same, and what publishes them."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(BotocoreClient(tables.client), tables.control)
        self._tables = tables

    def published(self) -> Sequence[str]:
        """See `SigningKeyStore.published`; in which order they were published is not known."""
        item = read_item(self._tables, KEY)
        return sorted(name.removeprefix(MARK) for name in item if name.startswith(MARK))

    def spare(self, known: frozenset[str]) -> str:
        """See `SigningKeyStore.spare`. Keys are made in KMS and published by a deployment, never by the broker."""
        for kid in self.published():
            if kid not in known:
                return kid
        raise NoSpareSigningKey

    def forget(self, kid: str) -> None:
        """See `SigningKeyStore.forget`: no role of the broker may disable a key in KMS."""

    def publish(self, jwk: Mapping[str, str]) -> None:
        """Publish a public key: it verifies tokens once it is listed as live. Raises Unavailable.

        jwk: with its thumbprint as `kid`. Publishing again changes nothing.
        """
        with as_unavailable():
            self._tables.client.update_item(
                TableName=self._tables.control,
                Key=KEY,
                UpdateExpression="SET #kid = :jwk",
                ExpressionAttributeNames={"#kid": MARK + jwk["kid"]},
                ExpressionAttributeValues={":jwk": {"S": json.dumps(dict(jwk))}},
            )
