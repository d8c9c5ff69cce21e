from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.errors import Refusal
from tests.contracts import dynamodb_adapters, samples
from tests.contracts.samples import SIX, calls, grant, policy, put_in_force, wanted

LESS = grant()._replace(claims=((("sub",), ("build-1",)),))


def test_an_apply_between_read_and_write() -> None:
    """Of two who apply the same policy, the one that read first and writes last raises no epoch again."""
    client = dynamodb_adapters.locked_moto()
    with dynamodb_adapters.made() as adapters:
        put_in_force(adapters.control, grant())
        met: list[int] = []

        def apply() -> None:
            adapters.control.apply(policy(LESS), "narrower", 1, samples.event("policy.applied"))

        def other_first(params: dict[str, Any], **_event: object) -> None:
            if not met and "ADD epoch" in json.dumps(params, default=str):
                met.append(1)
                apply()

        client.meta.events.register("provide-client-params.dynamodb.TransactWriteItems", other_first)
        try:
            with pytest.raises(Refusal, match="policy_changed"):
                apply()
        finally:
            client.meta.events.unregister("provide-client-params.dynamodb.TransactWriteItems", other_first)
        assert met == [1]
        [(_, state)] = adapters.ledger.find(wanted()).grants or ()
        assert state.epoch == 1
        assert adapters.edge_state.read_and_count(SIX, calls()).states["grant"].epoch == 1
        assert adapters.control.current().version == 2
