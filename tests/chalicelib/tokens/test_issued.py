"""Forged tokens of our own (vectors/issued_tokens.json), against the pure admission and against a running edge."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Admitted, Call
from chalicelib.edge.state import Snapshot
from chalicelib.errors import Refusal
from chalicelib.policy import compile as policy
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig, ProviderKey
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationState, RevocationTarget
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey, verifying_key
from tests import forge
from tests.forge import Base, Key
from tests.running import POLICY, Answer, Running, call

ENTRIES = forge.vectors("issued_tokens.json")
REFUSED = [entry for entry in ENTRIES if "reason" in entry]
ACCEPTED = [entry for entry in ENTRIES if "accepted" in entry]
NOW = 1_800_000_000
REPOSITORY = "2101"
COMPLETIONS = "/v1/chat/completions"
ISSUER = "https://issuer.example"
SUB = f"{ISSUER}|repository_id:{REPOSITORY}"


def named(entry: Mapping[str, Any]) -> str:
    return str(entry["name"])


def base(broker: Key, claims: Mapping[str, Any], now: int) -> Base:
    """A good token of this broker; every token is from now, whenever the one was issued that lent its claims."""
    fresh = {**claims, "iat": now, "nbf": now, "exp": now + 900}
    keys = {"broker": broker, "stranger": forge.ec_key("stranger-ec"), "rsa": forge.rsa_key("rsa-1")}
    return Base(keys, "broker", fresh, now, {"typ": "at+jwt"})


def make(entry: Mapping[str, Any], spoiled: Base) -> str:
    header = {
        name: spoiled.keys["broker"].kid if one == "@ours" else one for name, one in entry.get("header", {}).items()
    }
    return forge.make({**entry, "header": header}, spoiled)


@dataclass(frozen=True)
class State:
    """An edge's state in memory, where one principal was revoked once."""

    states: Mapping[RevocationTarget, RevocationState]
    grants: Mapping[str, Grant]
    signing_keys: tuple[str, ...]

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        del again
        return Snapshot(
            {scope: self.states.get(target, RevocationState()) for scope, target in targets.items()},
            {counter.window: 1 for counter in counters},
            {counter.window: 1 for counter in total},
            grant=self.grants.get(targets["grant"].id),
            key=KeyConfig("openai", "1") if targets["key"].id == "openai" else None,
            signing_keys=self.signing_keys,
        )

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        return {counter.window: 1 for counter in counters}

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:
        """Nothing is counted here, whatever is given back."""
        return 0 * len((*counters, reason, held))

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        return dict.fromkeys(counters, 0)


@dataclass(frozen=True)
class Keys:
    """One signing key, and the same provider key for every name."""

    signing: VerifyingKey

    def find(self, kid: str, now: int) -> VerifyingKey:
        del now
        if kid != self.signing.kid:
            raise InvalidTokenError("kid_unknown")
        return self.signing

    def get(self, name: str, version: str) -> ProviderKey:
        del name
        return ProviderKey(version, "https://api.example", "authorization", "Bearer ", "sk-real")


def admit(text: str, path: str = COMPLETIONS) -> Admitted:
    broker = forge.ec_key("broker")
    grants = policy.parse(
        POLICY.replace("preset: practice", f'url: "{ISSUER}"').replace("repository_owner_id", "sub")
    ).grants
    states = {RevocationTarget("principal", SUB): RevocationState(epoch=1)}
    keys = Keys(verifying_key(broker.jwk, ["ES256"]))
    edge = Edge(State(states, grants, (broker.kid,)), keys, keys, "https://broker.example")
    return admission.admit(Call(text, "openai", "POST", path), edge, NOW)


def in_memory() -> Base:
    claims = {
        "iss": "https://broker.example",
        "sub": SUB,
        "aud": "openai",
        "client_id": SUB,
        "scope": f"POST:{COMPLETIONS} POST:/v1/embeddings",
        "grant": "ci",
        "idp": ISSUER,
        "ep": [0, 0, 0, 0, 1],
        "jti": "the-only-one",
    }
    return base(forge.ec_key("broker"), claims, NOW)


@pytest.mark.parametrize("entry", REFUSED, ids=named)
def test_admission_refuses_what_is_forged(entry: dict[str, Any]) -> None:
    text = make(entry, in_memory())
    with pytest.raises(Refusal) as refused:
        admit(text, entry.get("path", COMPLETIONS))
    found = (refused.value.reason, refused.value.status, refused.value.error)
    assert found == (entry["reason"], entry["status"], entry["code"])


@pytest.mark.parametrize("entry", ACCEPTED, ids=named)
def test_admission_accepts_what_the_broker_signs(entry: dict[str, Any]) -> None:
    admitted = admit(make(entry, in_memory()))
    assert (admitted.principal, admitted.grant, admitted.jti) == (SUB, "ci", "the-only-one")


@pytest.fixture
def genuine(running: Running) -> Base:
    """A token issued just now, to a principal that was revoked and let in again, and the key that signed it."""
    first = forge.claims_of(running.token(REPOSITORY))
    if first["ep"][4] == 0:
        revocation = running.revoke("principal", running.sub(REPOSITORY))
        assert running.administer("DELETE", f"/admin/revocations/{revocation}").status == 200
        first = forge.claims_of(running.token(REPOSITORY))
    assert first["ep"][4] == 1
    return base(forge.signing_key(running.state / "signing-key.pem"), first, int(time.time()))


def reason_in_log(running: Running, answer: Answer) -> str:
    request_id = answer.headers["x-request-id"]
    (line,) = [line for line in running.log.read_text().splitlines() if request_id in line]
    return str(json.loads(line)["reason"])


@pytest.mark.parametrize("entry", REFUSED, ids=named)
def test_the_edge_refuses_what_is_forged(running: Running, genuine: Base, entry: dict[str, Any]) -> None:
    answer = running.complete(make(entry, genuine), "/openai" + entry.get("path", COMPLETIONS))
    assert (answer.status, answer.json["error"]["code"]) == (entry["status"], entry["code"])
    assert reason_in_log(running, answer) == entry["reason"]
    assert f'error="{entry["code"]}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("entry", ACCEPTED, ids=named)
def test_the_edge_accepts_what_the_broker_signs(running: Running, genuine: Base, entry: dict[str, Any]) -> None:
    assert running.complete(make(entry, genuine)).status == 200


def test_what_a_holder_is_told(running: Running, genuine: Base) -> None:
    """A holder learns that a token has expired or is for another key, and nothing of any other fault."""
    told = {
        name: running.complete(make(entry, genuine)).json["error"]["message"].partition(" (request")[0]
        for name, entry in {named(one): one for one in REFUSED}.items()
        if name in ("expired", "aud another key", "another key under our kid", "ep too short")
    }
    assert told.pop("expired") == "the token has expired; get a fresh one"
    assert told.pop("aud another key").startswith("the token is for another key than this path's")
    assert set(told.values()) == {"not a valid token for this"}


def test_two_tokens(running: Running, genuine: Base) -> None:
    """Two different tokens in one call are refused, even if both are good."""
    one, other = make({}, genuine), make({"claims": {"jti": "another"}}, genuine)
    answer = running.complete(one, **{"x-api-key": other})
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
    assert reason_in_log(running, answer) == "two_tokens"
    assert running.complete(one, **{"x-api-key": one}).status == 200


def test_two_spellings_of_a_token(running: Running, genuine: Base) -> None:
    """Two spellings of one token count as two tokens."""
    one = make({}, genuine)
    assert running.complete(one, **{"x-api-key": forge.twin(one)}).status == 400


def test_subject_token_at_the_edge(running: Running) -> None:
    answer = running.complete(running.mint(REPOSITORY))
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_token")


def test_white_space_around_a_token(running: Running, genuine: Base) -> None:
    """White space around a token belongs to the header."""
    token = make({}, genuine)
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
    for name, value in (("authorization", f"bearer   {token}  "), ("x-api-key", f" {token} ")):
        assert call("POST", f"{running.edge}/openai{COMPLETIONS}", body, {name: value}).status == 200


def test_revoked_in_every_spelling(running: Running, genuine: Base) -> None:
    """A revoked token is dead in every spelling."""
    token = make({"claims": {"jti": "to-be-revoked-2101"}}, genuine)
    other = forge.twin(token)
    assert [running.complete(one).status for one in (token, other)] == [200, 200]
    running.revoke("token", "to-be-revoked-2101")
    refused = [running.complete(one) for one in (token, other)]
    assert [(one.status, one.json["error"]["code"]) for one in refused] == [(403, "revoked")] * 2
