"""Minted values of provider keys in DynamoDB, as the edge reads them: encrypted by the minter, opened by the edge alone.

Each is an item of the table `control`, since Secrets Manager keeps what is replaced for a day, and no more than a hundred
versions of it. Its content is encrypted with AES-GCM by a data key of its own, which KMS wraps for the key's name and
version: one way for all, since KMS itself encrypts 4,096 bytes at most, and some providers' values are longer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from chalicelib.aws import round_trip
from chalicelib.aws.round_trip import AwsClient, Request, Steps
from chalicelib.errors import Unavailable
from chalicelib.providers.errors import ProviderKeyUnavailable
from chalicelib.providers.keys import MINTED, ProviderKey, ProviderKeys

NONCE_BYTES = 12
_KEY_BYTES = 32
_TEXTS = ("origin", "header", "prefix", "value")


def place(name: str, version: str) -> dict[str, Any]:
    """Return the key of a version's item."""
    return {"pk": {"S": f"minted#{name}"}, "sk": {"S": version}}


def context(name: str, version: str) -> dict[str, str]:
    """Return the encryption context of a version's data key, which CloudTrail shows."""
    return {"keybroker": "minted", "key": name, "version": version}


def kms_alias(prefix: str) -> str:
    """Return the alias of the key in KMS that wraps the data keys. prefix: of the installation's names."""
    return f"alias/{prefix}-minted"


class MintedKeys:
    """`chalicelib.providers.keys.ProviderKeys`: reads minted versions; any other is asked of `others`.

    control: the table's name. prefix: of the installation's names. The last version read of each key is cached, and used
    for exactly that version.
    """

    def __init__(self, client: AwsClient, control: str, prefix: str, others: ProviderKeys) -> None:
        self._client, self._control, self._kms_key = client, control, kms_alias(prefix)
        self._others = others
        self._known: dict[str, ProviderKey] = {}

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`. A minted version that is not cached takes two round trips."""
        if not version.startswith(MINTED):
            return self._others.get(name, version)
        key = self._known.get(name)
        if key is None or key.version != version:
            key = self._known[name] = self._read(name, version)
        return key

    def _read(self, name: str, version: str) -> ProviderKey:
        try:
            [key] = round_trip.make(self._client, self._reading(name, version))
        except (Unavailable, ValueError, KeyError, TypeError, RecursionError) as fault:
            # SECURITY: AWS's word at most, since a JSON error holds the whole text (test_what_is_malformed_is_never_quoted).
            raise ProviderKeyUnavailable(aws_code=getattr(fault, "aws_code", "")) from None
        found: ProviderKey = key
        return found

    def _reading(self, name: str, version: str) -> Steps[ProviderKey]:
        where = {"TableName": self._control, "Key": place(name, version), "ConsistentRead": True}
        item = (yield Request("GetItem", where))["Item"]
        # SECURITY: the context is ours and not the item's, or one key's value would open as another's; and the key is
        # named, or KMS would unwrap what any key wrapped that this role may use (test_an_item_is_opened_in_its_own_place).
        wrapped = {"CiphertextBlob": item["wrapped"]["B"], "EncryptionContext": context(name, version)}
        answer = yield Request("Decrypt", {"KeyId": self._kms_key, **wrapped})
        data_key = base64.b64decode(answer["Plaintext"], validate=True)
        return _opened(base64.b64decode(item["sealed"]["B"], validate=True), data_key, version)


def _opened(sealed: bytes, data_key: bytes, version: str) -> ProviderKey:
    """Return what was sealed; raises ValueError, KeyError or TypeError if it is not as it was."""
    # Here, so that an edge without federated keys starts without it.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as above

    if len(data_key) != _KEY_BYTES:
        raise ValueError("no data key of ours")
    try:
        content = AESGCM(data_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
    except InvalidTag:
        raise ValueError("changed since it was sealed") from None
    return _key(json.loads(content), version)


def _key(stored: Mapping[str, Any], version: str) -> ProviderKey:
    texts = {name: stored[name] for name in _TEXTS}
    beside = tuple((name, value) for name, value in stored["beside"])
    flat = (*texts.values(), *(one for pair in beside for one in pair))
    if not all(isinstance(one, str) for one in flat) or type(stored["expires"]) is not int:
        raise TypeError("not a minted value")
    return ProviderKey(version, expires=stored["expires"], beside=beside, **texts)
