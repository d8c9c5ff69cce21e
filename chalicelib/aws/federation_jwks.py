"""The public keys of our own issuer `/federation`, which the minter publishes in DynamoDB."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from chalicelib.aws.dynamodb import Tables, read_item
from chalicelib.aws.items import text

KEY = {"pk": {"S": "federation"}, "sk": {"S": "-"}}
"""The item in the table `control`."""


def published_keys(tables: Tables) -> Sequence[Mapping[str, str]]:
    """Return them as JWKs, none if no key was ever needed; raises Unavailable."""
    stored = text(read_item(tables, KEY), "jwks")
    return json.loads(stored) if stored else ()
