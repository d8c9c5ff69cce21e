"""The public keys of our own tokens in DynamoDB: published by administrators, read by every verifier of a token.

A key is published before it is listed as live, and listed before it signs. Which keys are live is asked anew for every
call (`edge.decision`); here is only what a kid stands for, which never changes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from chalicelib.aws import round_trip
from chalicelib.aws.items import Item
from chalicelib.aws.round_trip import AwsClient, Request, Steps
from chalicelib.errors import StateUnread
from chalicelib.tokens.errors import InvalidTokenError, SigningKeysUnavailable
from chalicelib.tokens.issued import UNKNOWN_KID_PAUSE
from chalicelib.tokens.jwk import VerifyingKey, thumbprint, verifying_key
from chalicelib.tokens.verify import ISSUED_ALGORITHM

FAILURE_PAUSE = 1
"""The same after a read that failed."""

KEY = {"pk": {"S": "signing"}, "sk": {"S": "-"}}
MARK = "k#"
"""The attribute of a key: `k#<kid>`, its public JWK."""


class PublishedSigningKeys:
    """`chalicelib.tokens.issued.SigningKeys`, over the table `control`, whose name is given. What was found is cached."""

    def __init__(self, client: AwsClient, control: str) -> None:
        self._client, self._control = client, control
        self._known: Mapping[str, VerifyingKey] = {}
        self._next_read = 0
        self._failed = False
        self._reading = threading.Lock()

    def find(self, kid: str, now: int) -> VerifyingKey:
        """See `SigningKeys.find`. An unknown kid takes one read of one item, in one round trip."""
        key = self._known.get(kid)
        if key is None:
            with self._reading:
                # Further ahead than any pause, it was set by a clock that was wrong.
                if kid not in self._known and not 0 < self._next_read - now <= UNKNOWN_KID_PAUSE:
                    self._read(now)
                key, failed = self._known.get(kid), self._failed
            if key is None and failed:
                raise SigningKeysUnavailable
            if key is None:
                raise InvalidTokenError("kid_unknown")
        return key

    def _read(self, now: int) -> None:
        # It counts as failed until it has succeeded, no matter what is raised in between.
        self._failed, self._next_read = True, now + FAILURE_PAUSE
        round_trip.make(self._client, self.reading(now))

    def reading(self, now: int) -> Steps[None]:
        """Read the keys, which are known then. now: epoch seconds. If it fails, nothing has changed."""
        answer = yield Request("GetItem", {"TableName": self._control, "Key": KEY, "ConsistentRead": True})
        item = answer.get("Item", {})
        if not isinstance(item, dict):
            raise StateUnread
        self._known = _keys(item)
        self._failed, self._next_read = False, now + UNKNOWN_KID_PAUSE


def _keys(item: Item) -> dict[str, VerifyingKey]:
    """Return an item's keys, by kid, without malformed ones."""
    stored = {name.removeprefix(MARK): value for name, value in item.items() if name.startswith(MARK)}
    return {kid: key for kid, value in stored.items() if (key := _key(kid, value)) is not None}


def _key(kid: str, stored: Any) -> VerifyingKey | None:  # noqa: ANN401  as the table has it
    # SECURITY: a kid is its key's thumbprint, so that no other key can take its place
    # (test_a_key_that_is_not_what_its_kid_says_is_not_used).
    try:
        jwk = json.loads(stored["S"])
        return verifying_key({**jwk, "kid": kid}, [ISSUED_ALGORITHM]) if thumbprint(jwk) == kid else None
    except (InvalidTokenError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
