"""The public keys of our own tokens in DynamoDB, published by administrators: what writes them, with botocore."""

from __future__ import annotations

import json
from collections.abc import Mapping

from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.dynamodb import Tables, as_unavailable
from chalicelib.aws.published_keys import KEY, MARK, PublishedSigningKeys


class DynamoSigningKeys(PublishedSigningKeys):
    """The same, and what publishes them."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(BotocoreClient(tables.client), tables.control)
        self._tables = tables

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
