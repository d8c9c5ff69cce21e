"""Both doors and the edge as Lambda makes them, over moto: from nothing to a call, a refusal and what is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from chalicelib.aws import cloudwatch, wiring
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.federation_keys import KmsFederationKeys
from chalicelib.aws.minted_key_store import MintedKeyStore
from chalicelib.aws.policies import DynamoPolicies
from chalicelib.aws.provider_key_store import SecretsManagerKeyStore
from chalicelib.aws.signing import KmsSigner
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.aws.usage import DynamoUsage
from chalicelib.errors import Unavailable
from chalicelib.exchange.exchange import Broker
from chalicelib.federation.minter import Minter
from chalicelib.federation.notes import Asked
from chalicelib.policy.compile import InstallationRules
from chalicelib.providers.origins import Origins
from chalicelib.providers.versions import KeyInfo
from infra import signing_keys
from tests import aws_scenario
from tests.aws_installed import Installed, installation, issued


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with installation(tmp_path_factory.mktemp("aws"), "kbaws") as one:
        yield one


def test_a_token_is_issued_and_the_edge_swaps_it_for_the_key(installed: Installed) -> None:
    answer = installed.caller("public").ask("POST", "/token", aws_scenario.wanted())
    assert (answer.status, answer.json["base_url"]) == (200, "https://keys.example.com/openai/v1")
    sent_on = installed.call(answer.json["access_token"])
    assert sent_on["headers"]["authorization"][0]["value"] == f"Bearer {aws_scenario.KEY_VALUE}"
    assert sent_on["origin"]["custom"]["domainName"] == "api.openai.com"


def test_a_call_beyond_the_quota_is_refused(installed: Installed) -> None:
    answer = installed.caller("public").ask(
        "POST", "/token", aws_scenario.wanted(aws_scenario.subject_token("build-2"))
    )
    results = [installed.call(answer.json["access_token"]).get("status", "") for _ in range(5)]
    assert results[:2] == ["", ""]
    assert "429" in results


def test_iam_callers_get_a_token(installed: Installed) -> None:
    """A caller that signs by IAM gets a token, and one that does not gets none."""
    sent = {"audience": "openai"}
    signed = installed.caller("public", aws_scenario.ROLE).ask("POST", "/token/iam", sent)
    unsigned = installed.caller("public").ask("POST", "/token/iam", sent)
    assert (signed.status, unsigned.status) == (200, 403)
    assert "status" not in installed.call(signed.json["access_token"])


@pytest.mark.parametrize(("said", "status"), [(None, 422), ("false", 422), ("true", 200), ("yes", 503)])
def test_a_budget_needs_a_gateway(installed: Installed, said: str | None, status: int) -> None:
    """A limit of what models take is a fault unless it was said that gateways serve the stage, and one that is in force is told."""
    text = aws_scenario.policy().replace(
        "quota: {tokens: 100/hour", "quota: {usage: 200000 tokens/day, tokens: 100/hour"
    )
    told = {} if said is None else {"KEYBROKER_GATEWAY": said}
    one = replace(installed, admin={**installed.admin, **told})
    answer = one.administrator().ask("POST", "/admin/policy/validate", {"text": text})
    assert answer.status == status, answer.body


def test_a_revoked_token_is_refused(installed: Installed) -> None:
    """A token that its holder revoked is refused in the next call."""
    token = issued(installed)
    assert "status" not in installed.call(token)
    assert installed.caller("public").ask("POST", "/revoke", {"token": token}).status == 200
    refused = installed.call(token)
    assert (refused["status"], json.loads(refused["body"])["error"]["code"]) == ("403", "revoked")


def test_what_an_administrator_revokes_is_refused_in_the_next_call(installed: Installed) -> None:
    token = issued(installed)
    sent = {"scope": "principal", "id": f"{aws_scenario.ISSUER}|sub:build-1", "reason": "left the company"}
    made = installed.administrator().ask("POST", "/admin/revocations", sent)
    assert made.status == 201, made.body
    assert installed.call(token)["status"] == "403"
    restored = installed.administrator().ask(
        "DELETE", "/admin/revocations/{revocation_id}", revocation_id=made.json["id"]
    )
    assert restored.status == 200, restored.body
    assert installed.call(token)["status"] == "401"  # dead for good; a fresh one is not
    assert "status" not in installed.call(issued(installed))


def test_the_jwks_has_the_live_keys(installed: Installed) -> None:
    """The JWKS has the live keys, and a tainted one is missing from the next answer."""
    ask = installed.caller("public").ask
    before = ask("GET", "/.well-known/jwks.json").json["keys"]
    kids = [one["kid"] for one in before]
    assert len(kids) == 2
    control = DynamoControl(installed.tables)
    try:
        assert signing_keys.publish(before, installed.tables, [kids[1]]) == (kids[1],)
        assert ask("GET", "/.well-known/jwks.json").json["keys"] == before[1:]
        live = signing_keys.publish(before, installed.tables)
        assert live == (kids[1],), "deploying again must not bring a tainted key back"
    finally:
        control.list_signing_keys(tuple(kids))


def test_an_administrator_sees_what_was_done(installed: Installed) -> None:
    issued(installed)
    administrator = installed.administrator()
    audit = administrator.ask("GET", "/admin/audit")
    assert "token.issued" in {one["kind"] for one in audit.json["items"]}
    for path in ("/admin/keys", "/admin/principals", "/admin/usage", "/admin/revocations", "/admin/policy"):
        assert administrator.ask("GET", path).status == 200, path
    explained = administrator.ask("POST", "/admin/policy/explain", {"token": aws_scenario.subject_token()})
    assert (explained.status, explained.json["verified"]) == (200, True)


# what a door does not have


def reached(ports: object) -> set[type]:
    """Return the classes of everything of ours that a set of ports holds, and what that holds, and so on."""
    found: set[type] = set()
    waiting, seen = [ports], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not type(one).__module__.startswith("chalicelib."):
            continue
        seen.add(id(one))
        found.add(type(one))
        slots = (name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ()))
        waiting += [getattr(one, name, None) for name in slots] + list(getattr(one, "__dict__", {}).values())
    return found


def test_public_ports_hold_no_admin_port(installed: Installed) -> None:
    """The public door holds none of the administrators' ports, neither as a field nor within another port."""
    ports = wiring.public_ports(installed.public)
    assert [one.name for one in fields(ports)] == [
        *("broker", "revocations", "usage", "jwks", "federation_jwks", "clock", "new_id")
    ]
    administrators = {DynamoControl, DynamoPolicies, DynamoUsage, SecretsManagerKeyStore, Origins, InstallationRules}
    assert administrators & reached(ports) == set()
    assert administrators <= reached(wiring.admin_ports(installed.admin)), "or else nothing is looked at"


def test_the_administrators_door_signs_nothing(installed: Installed) -> None:
    """The administrators' door holds no signer and no signing keys, neither as a field nor within another port."""
    ports = wiring.admin_ports(installed.admin)
    assert not {"broker", "signer", "jwks"} & {one.name for one in fields(ports)}
    assert not {Broker, KmsSigner, DynamoSigningKeys} & reached(ports)
    assert {Broker, KmsSigner, DynamoSigningKeys} <= reached(wiring.public_ports(installed.public))


def test_the_administration_asks_the_minter(installed: Installed) -> None:
    """It knows the function by its name and the broker's URL, and has nothing of what mints; without a minter it says so."""
    named = {"KEYBROKER_MINTER": "kb-minter", "KEYBROKER_URL": "https://broker.example.com"}
    ports: Any = wiring.admin_ports({**installed.admin, **named})
    assert (ports.try_mint._function, ports.broker_url) == ("kb-minter", "https://broker.example.com")
    assert ports.rules.own_urls == ("https://broker.example.com", "https://broker.example.com/federation")
    assert wiring.admin_ports(installed.admin).rules.own_urls == ()
    assert not {Minter, KmsFederationKeys, MintedKeyStore} & reached(ports)
    with pytest.raises(Unavailable, match=r"^not_configured$"):
        wiring.admin_ports(installed.admin).try_mint(
            KeyInfo("openai", "openai", None, federated={}), Asked("ada", "r-1")
        )


def test_a_door_refuses_the_environment_of_the_other(installed: Installed) -> None:
    """A function whose environment is the other door's makes no ports."""
    for make, environ in ((wiring.public_ports, installed.admin), (wiring.admin_ports, installed.public)):
        with pytest.raises(Unavailable, match=r"^not_configured$"):
            make(environ)


# what the environment does not say


@pytest.mark.parametrize("door", ["public", "admin"])
def test_incomplete_configuration_refuses_all(installed: Installed, door: str) -> None:
    """A function whose configuration is incomplete refuses everything."""
    whole, make = {
        "public": (installed.public, wiring.public_ports),
        "admin": (installed.admin, wiring.admin_ports),
    }[door]
    for name in whole:
        with pytest.raises(Unavailable, match=r"^not_configured$") as caught:
            make({**whole, name: ""})
        assert name in caught.value.hint


def test_a_door_that_there_is_not_is_not_opened() -> None:
    with pytest.raises(Unavailable, match=r"^not_configured$"):
        wiring.public_ports({"KEYBROKER_DOOR": "both"})


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Take CloudWatch's handler off again: other tests read the log in another way."""
    log = cloudwatch._LOG
    before = list(log.handlers), log.propagate
    yield
    log.handlers, log.propagate = before
