"""Minted values of provider keys written to DynamoDB, with botocore, by the minter alone: `minted_keys` has how."""

from __future__ import annotations

import json
import secrets
from typing import Any

from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.aws import minted_keys
from chalicelib.aws.data_keys import DataKeyFaultError, DataKeys
from chalicelib.aws.dynamodb import Tables, as_unavailable
from chalicelib.errors import StateUnavailable
from chalicelib.providers.errors import ProviderKeysUnwritable
from chalicelib.providers.keys import ProviderKey

KEPT_SECONDS = 600
"""For which an item is kept past the end of what it holds."""


class MintedKeyStore:
    """`chalicelib.providers.keys.ProviderKeyStore`. data_keys: those of the key in KMS that the edge may decrypt with."""

    def __init__(self, tables: Tables, data_keys: DataKeys) -> None:
        self._tables, self._data_keys = tables, data_keys

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`. A version is written once."""
        try:
            self._put({**minted_keys.place(name, key.version), **self._sealed(name, key)})
        except (DataKeyFaultError, StateUnavailable, ClientError):
            # SECURITY: no cause, since a request holds what was sealed (test_what_cannot_be_stored_is_never_quoted).
            raise ProviderKeysUnwritable from None

    def _put(self, item: dict[str, Any]) -> None:
        with as_unavailable():
            self._tables.client.put_item(
                TableName=self._tables.control, Item=item, ConditionExpression="attribute_not_exists(pk)"
            )

    def _sealed(self, name: str, key: ProviderKey) -> dict[str, Any]:
        content = {"origin": key.origin, "header": key.header, "prefix": key.prefix}
        content |= {"value": key.reveal().removeprefix(key.prefix)}
        text = json.dumps({**content, "expires": key.expires, "beside": key.beside})
        data_key = self._data_keys.new(minted_keys.context(name, key.version))
        nonce = secrets.token_bytes(minted_keys.NONCE_BYTES)
        return {
            "wrapped": {"B": data_key.wrapped},
            "sealed": {"B": nonce + AESGCM(data_key.plain).encrypt(nonce, text.encode(), None)},
            "expires_at": {"N": str(key.expires + KEPT_SECONDS)},
        }
