"""The forged-token matrix (vectors/subject_tokens.json), against the verifier and against a running token endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib import principal
from chalicelib.exchange.replay import replay_id
from chalicelib.issuers.presets import GENERIC
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import chosen, key_set
from tests import forge
from tests.forge import Base, Key
from tests.refused import is_of_claims
from tests.running import Answer, Running, call, start

ENTRIES = forge.vectors("subject_tokens.json")
REFUSED = [entry for entry in ENTRIES if "reason" in entry]
ACCEPTED = [entry for entry in ENTRIES if "accepted" in entry]
NOW = 1_800_000_000
POLICY = """\
keys:
  openai: {{provider: openai}}
issuers:
  forge: {{url: "{url}", audience: keybroker, algorithms: [RS256, ES256]}}
grants:
  forged:
    key: openai
    to: {{issuer: forge, claims: {{sub: forged}}}}
    scope: ["POST:/v1/chat/completions"]
    quota: {{tokens: 100000/hour, calls: [1000/minute]}}
"""


def keys() -> dict[str, Key]:
    return {
        "rsa": forge.rsa_key("rsa-1"),
        "ec": forge.ec_key("ec-1"),
        "encrypting": forge.rsa_key("encrypting-1"),
        "stranger_rsa": forge.rsa_key("stranger-rsa"),
        "stranger_ec": forge.ec_key("stranger-ec"),
    }


def published() -> list[dict[str, str]]:
    known = keys()
    return [known["rsa"].jwk, known["ec"].jwk, {**known["encrypting"].jwk, "use": "enc"}]


def base(url: str, now: int) -> Base:
    claims = {"iss": url, "sub": "forged", "aud": "keybroker", "iat": now, "nbf": now, "exp": now + 300, "jti": "j"}
    return Base(keys(), "rsa", claims, now)


def named(entry: dict[str, Any]) -> str:
    return str(entry["name"])


def verify(text: str, url: str) -> tokens.Claims:
    """Verify as `exchange` does, with the keys that the issuer publishes."""
    unverified = jws.parse(text)
    key = chosen(key_set({"keys": published()}, ["RS256", "ES256"]), unverified.kid, unverified.alg)
    if key is None:
        raise InvalidTokenError("kid_unknown")
    expected = tokens.Expected(url, "keybroker", 3600, tokens.SUBJECT_TYPES, fractions=True)
    claims = tokens.verify(unverified, key, expected, NOW)
    if principal.stable_id(GENERIC.identity, claims) is None:
        raise InvalidTokenError("identity_missing")
    replay_id(text, claims)
    return claims


@pytest.mark.parametrize("entry", REFUSED, ids=named)
def test_the_verifier_refuses_what_is_forged(entry: dict[str, Any]) -> None:
    text = forge.make(entry, base("https://forge.example", NOW))
    with pytest.raises(InvalidTokenError) as refused:
        verify(text, "https://forge.example")
    assert refused.value.reason == entry["reason"]


@pytest.mark.parametrize("entry", ACCEPTED, ids=named)
def test_the_verifier_accepts_what_is_genuine(entry: dict[str, Any]) -> None:
    text = forge.make(entry, base("https://forge.example", NOW))
    assert verify(text, "https://forge.example")["sub"] == "forged"


@dataclass(frozen=True)
class Forged:
    """A running Keybroker that trusts the forger's issuer."""

    running: Running
    url: str

    def exchange(self, entry: dict[str, Any]) -> Answer:
        return self.running.exchange(forge.make(entry, base(self.url, int(time.time()))))

    def refuses(self, answer: Answer, reason: str) -> None:
        """As below until it is proved who sends the token; then the caller hears why, and the audit has it."""
        if not is_of_claims(reason):
            self.refuses_without_a_word(answer, reason)
            return
        assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
        assert answer.json["error_description"].startswith("the identity token is refused: ")
        events = self.running.administer("GET", "/admin/audit?kind=token.refused&limit=200").json["items"]
        assert (reason, self.url) in {(event["reason"], event["issuer"]) for event in events}

    def refuses_without_a_word(self, answer: Answer, reason: str) -> None:
        """The caller hears nothing but "invalid"; the log has the reason; the audit table has nothing."""
        request_id = answer.headers["x-request-id"]
        lines = [line for line in self.running.log.read_text().splitlines() if request_id in line]
        assert (answer.status, answer.json) == (400, {"error": "invalid_grant", "request_id": request_id}), lines
        (line,) = lines
        said = {"door": "public", "reason": reason, "status": 400, "request_id": request_id}
        assert {name: value for name, value in json.loads(line).items() if name != "time"} == said
        assert self.running.administer("GET", f"/admin/audit?request_id={request_id}").json["items"] == []


@pytest.fixture(scope="module")
def forged() -> Iterator[Forged]:
    with forge.issuer(published()) as url, start(policy=POLICY.format(url=url)) as running:
        yield Forged(running, url)


@pytest.mark.parametrize("entry", REFUSED, ids=named)
def test_the_token_endpoint_refuses_what_is_forged(forged: Forged, entry: dict[str, Any]) -> None:
    """The token endpoint refuses each forged token: without a word, unless the issuer itself signed it for this broker."""
    reason = entry.get("reason_over_http", entry["reason"])
    forged.refuses(forged.exchange(entry), reason)


@pytest.mark.parametrize("entry", ACCEPTED, ids=named)
def test_the_token_endpoint_accepts_what_is_genuine(forged: Forged, entry: dict[str, Any]) -> None:
    answer = forged.exchange(entry)
    assert (answer.status, answer.json["scope"]) == (200, "POST:/v1/chat/completions")


def test_issued_token_is_no_subject_token(forged: Forged) -> None:
    """An issued token never serves as a subject token."""
    ours = forged.exchange({}).json["access_token"]
    forged.refuses_without_a_word(forged.running.exchange(ours), "issuer_unknown")


def test_practice_token_elsewhere(forged: Forged) -> None:
    """The practice issuer's token is nothing to a policy without it."""
    forged.refuses_without_a_word(forged.running.exchange(forged.running.mint("2001")), "issuer_unknown")


def test_jwt_bearer_assertion(forged: Forged) -> None:
    """An RFC 7523 assertion is verified in the same way."""

    def assertion(entry: dict[str, Any]) -> Answer:
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": forge.make(entry, base(forged.url, int(time.time()))),
            "audience": "openai",
        }
        return call("POST", f"{forged.running.broker}/token", fields)

    assert assertion({}).status == 200
    forged.refuses_without_a_word(assertion({"key": "stranger_rsa", "header": {"kid": "rsa-1"}}), "signature_wrong")


@pytest.mark.parametrize("name", ["audience", "grant", "scope"])
def test_half_a_surrogate_pair(forged: Forged, name: str) -> None:
    """A parameter with half of a surrogate pair is an invalid request."""
    subject_token = forge.make({}, base(forged.url, int(time.time())))
    answer = forged.running.exchange(subject_token, **{"audience": "openai", name: "\ud800"})
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_the_matrix_is_whole() -> None:
    """Every rule of the verifier has a forged token."""
    assert (len(REFUSED), len(ACCEPTED)) == (len(ENTRIES) - len(ACCEPTED), 19)
    reasons = {entry["reason"] for entry in REFUSED} | {entry.get("reason_over_http", "") for entry in REFUSED}
    times = {f"{name}_{fault}" for name in ("iat", "exp", "nbf") for fault in ("missing", "malformed")}
    assert reasons >= times | {
        "too_large", "not_three_segments", "base64_malformed", "base64_not_canonical", "header_not_json",
        "signature_missing", "crit_refused", "key_in_header", "header_unknown", "claims_not_json", "json_key_twice",
        "json_constant", "json_not_text", "json_too_deep", "kid_missing", "alg_missing", "typ_malformed", "typ_wrong",
        "alg_wrong", "kid_unknown", "signature_wrong", "iss_wrong", "iss_missing", "issuer_unknown", "aud_wrong",
        "exp_past", "iat_future", "nbf_future", "lifetime_too_long", "identity_missing",
    }  # fmt: skip
