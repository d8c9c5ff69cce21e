from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.aws import policy_texts
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


def test_a_loser_replaces_no_text() -> None:
    """An apply that lost the lead before its text was written leaves the text, author and time of who won."""
    client = dynamodb_adapters.locked_moto()
    with dynamodb_adapters.made() as adapters:
        put_in_force(adapters.control, grant())
        met: list[int] = []

        def other_first(params: dict[str, Any], **_event: object) -> None:
            if not met and "policy#2" in json.dumps(params, default=str):
                met.append(1)
                adapters.control.apply(
                    policy(grant()), "the winner's", 1, samples.event("policy.applied", actor="winner")
                )

        names = [f"provide-client-params.dynamodb.{name}" for name in ("TransactWriteItems", "PutItem")]
        for name in names:
            client.meta.events.register(name, other_first)
        try:
            with pytest.raises(Refusal, match="policy_changed"):
                adapters.control.apply(
                    policy(grant()), "the loser's", 1, samples.event("policy.applied", actor="loser")
                )
        finally:
            for name in names:
                client.meta.events.unregister(name, other_first)
        assert met == [1]
        kept = adapters.control.version(2)
        assert kept is not None
        assert (kept.text, kept.author) == ("the winner's", "winner")


@pytest.mark.slow
def test_a_long_policy_has_several_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the text nor the names have to fit into one item, and nothing stays of a longer one that was not finished."""
    monkeypatch.setattr(policy_texts, "CHUNK", 48)
    client = dynamodb_adapters.locked_moto()
    many, few = [f"key-{index}" for index in range(40)], ["key-1", "openai"]

    written: list[int] = []
    cut_off = False

    def look(params: dict[str, Any], **_event: object) -> None:
        puts = [one["Put"] for one in params.get("TransactItems", ()) if "Put" in one] or [params]
        written.extend(len(one["Item"]["text"]["B"]) for one in puts if "text" in one.get("Item", ()))
        if cut_off and "SET version" in json.dumps(params, default=str):
            raise EndpointConnectionError(endpoint_url="https://dynamodb")

    client.meta.events.register("provide-client-params.dynamodb", look, "look")
    with dynamodb_adapters.made() as adapters:

        def apply(names: list[str], version: int) -> None:
            text = " ".join(secrets.token_hex(8) for _ in names)
            adapters.control.apply(policy(keys=tuple(names)), text, version, samples.event("policy.applied"))
            assert adapters.control.current().text == text
            assert [one.name for one in adapters.control.keys(samples.event("keys.read"))] == sorted(names)

        try:
            apply(["openai"], 0)
            cut_off = True
            with pytest.raises(Refusal, match="state_uncertain"):
                apply(many, 1)
            cut_off = False
            apply(few, 1)
            apply(many, 2)
        finally:
            client.meta.events.unregister("provide-client-params.dynamodb", unique_id="look")
    assert max(written) == 48
