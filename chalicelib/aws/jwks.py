"""Our own JWKS from DynamoDB: the keys that are published and listed as live."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence

from chalicelib.aws import published_keys, target_items
from chalicelib.aws.dynamodb import Tables, read_batch, run_parallel
from chalicelib.revocation import EVERYTHING


def live_keys(tables: Tables) -> Sequence[Mapping[str, str]]:
    """Return the public keys that verify tokens now, in the order in which they are listed; raises Unavailable.

    One strongly consistent batch of two items, so that a tainted key is missing from the next answer.
    """
    wanted = [target_items.key(EVERYTHING, "0"), published_keys.KEY]
    (items,) = run_parallel(functools.partial(read_batch, tables, {tables.control: wanted}))
    listed = target_items.signing_keys(target_items.by_target([EVERYTHING], "0", items)[EVERYTHING])
    published = {name: value for item in items for name, value in item.items()}
    marked = (published.get(f"{published_keys.MARK}{kid}") for kid in listed)
    return [json.loads(one["S"]) for one in marked if one]
