"""What proves us to providers lets nobody in here, and what lets callers in proves nothing to providers."""

from __future__ import annotations

import pytest

from chalicelib.edge.errors import InvalidToken
from chalicelib.exchange.errors import InvalidSubjectToken
from chalicelib.federation import assertion
from chalicelib.federation.minter import digest
from chalicelib.policy import compile as policy
from chalicelib.providers.errors import ProviderKeyExpired, ProviderKeyNotMinted
from chalicelib.providers.keys import EXPIRY_MARGIN, ProviderKey
from chalicelib.providers.versions import KeyVersion
from local.practice.federation import parties
from local.practice.federation.trust import DeniedError, Rules, TrustedIssuer
from tests.contracts import samples
from tests.http_door import admin_door
from tests.parts import BROKER, DIALECT, GRANTS, ISSUERS, KEY_VALUE, NOW, Parts, mint

FEDERATED = f"{{provider: openai, federated: {parties.POLICY['openai']}}}"


@pytest.mark.parametrize("issuer", [BROKER, f"{BROKER}/", f"{BROKER}/federation", "https://broker.example/Federation/"])
def test_our_own_assertion_is_refused(parts: Parts, issuer: str) -> None:
    """A subject token of our own issuers is refused, whoever signed it and whatever the policy says of them."""
    text = (ISSUERS + GRANTS).replace("https://cluster.example", issuer)
    parts.control.apply(
        policy.parse(text, rules=DIALECT), text, parts.control.current().version, samples.event("policy.applied")
    )
    with pytest.raises(InvalidSubjectToken, match=r"^issuer_unknown$"):
        parts.exchange(mint(issuer=issuer, sub="system:serviceaccount:prod:x"))


def test_our_own_issuer_is_in_no_policy() -> None:
    """A policy that names one of our own issuers is refused where our URL is known."""
    rules = policy.InstallationRules(DIALECT.presets, own_urls=assertion.own(BROKER))
    for issuer in (BROKER, f"{BROKER}/federation"):
        with pytest.raises(policy.InvalidPolicyError) as caught:
            policy.parse((ISSUERS + GRANTS).replace("https://cluster.example", issuer), rules=rules)
        assert "an issuer other than this broker" in str(caught.value.faults)


def test_an_assertion_opens_no_call(parts: Parts) -> None:
    """The edge takes no assertion for a token, even one that our signing key of tokens had signed."""
    claims = assertion.claims(BROKER, "openai", "https://api.openai.com/v1", NOW, 3600, "jti-1")
    signed = parts.signer.begin({"typ": "JWT", "kid": parts.signer.kid()}, claims).result()
    with pytest.raises(InvalidToken):
        parts.admit(signed)


def test_a_caller_s_token_mints_nothing(parts: Parts) -> None:
    """A provider that trusts our issuer takes no token of a caller's for an assertion."""
    issuer = TrustedIssuer(f"{BROKER}/federation", {"keys": [dict(parts.signer.public_jwk)]}, clock=lambda: NOW)
    with pytest.raises(DeniedError, match=r"^type_not_allowed$"):
        issuer.verify(parts.token(), Rules(("ES256",)))


def test_the_issuers_share_nothing() -> None:
    """Our two issuers differ in URL, key set and discovery document."""
    found = assertion.discovery(BROKER)
    assert found["issuer"] == f"{BROKER}/federation"
    assert found["jwks_uri"] == f"{BROKER}/federation/jwks"


def minted(parts: Parts, expires: int) -> None:
    """Have the key `openai` federated, with a credential that ends then."""
    parts.apply((ISSUERS + GRANTS).replace("{provider: openai}", FEDERATED))
    info = parts.control.key_info("openai")
    assert info is not None
    key = ProviderKey(
        f"minted-{expires}", "https://api.openai.com", "authorization", "Bearer ", "minted-value", expires
    )
    parts.provider_keys.put("openai", key)
    version = KeyVersion(key.version, key.origin, key.header, "minter", NOW, expires=expires, minted_for=digest(info))
    parts.control.set_key("openai", version, samples.event("key.minted", id=key.version))


def test_an_expired_credential(parts: Parts) -> None:
    """A call that would go on with an expired credential is a 503 that says so, may be repeated, and is not counted."""
    token = parts.token()
    minted(parts, NOW + EXPIRY_MARGIN + 1)
    assert parts.admit(token).key.value == "minted-value"
    counted = parts.counted()
    minted(parts, NOW + EXPIRY_MARGIN)
    with pytest.raises(ProviderKeyExpired, match=r"^provider_key_expired$") as refused:
        parts.admit(token)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    assert "expired" in refused.value.description
    assert {window: taken for window, (taken, _) in parts.counted().items()} == {
        window: taken for window, (taken, _) in counted.items()
    }


def test_before_the_first_credential(parts: Parts) -> None:
    """A call of a federated key for which nothing was minted yet is a 503 that may be repeated, and is not counted."""
    parts.apply(
        (ISSUERS + GRANTS)
        .replace("openai:    {provider: openai}", f"claude: {FEDERATED}")
        .replace("key: openai", "key: claude")
    )
    token = parts.exchange(mint(), audience="claude").access_token
    with pytest.raises(ProviderKeyNotMinted, match=r"^provider_key_not_minted$") as refused:
        parts.admit(token, key="claude")
    assert (refused.value.status, refused.value.retry_after, refused.value.retryable) == (503, 1, True)
    assert "no credential" in refused.value.description
    assert {taken for taken, _ in parts.counted().values()} == {0}


def test_a_value_that_was_set_goes_on(parts: Parts) -> None:
    """A key that had a value when it became federated is called with that until its first credential is in force."""
    token = parts.token()
    parts.apply((ISSUERS + GRANTS).replace("{provider: openai}", FEDERATED))
    assert parts.admit(token).key.reveal() == f"Bearer {KEY_VALUE}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/admin/keys/{name}", {"value": "sk-new"}),
        ("POST", "/admin/keys/{name}/rotation", {}),
        ("POST", "/admin/keys/{name}/rollback", None),
        ("PUT", "/admin/keys/{name}/management", {"value": "sk-admin", "settings": {}}),
    ],
)
def test_a_federated_key_is_not_set(parts: Parts, method: str, path: str, body: object) -> None:
    """Nothing is set, replaced or gone back to by hand of a key that the policy has federated."""
    minted(parts, NOW + 600)
    answer = admin_door(parts).administer(method, path, body, parameters={"name": "openai"})
    assert (answer.status, answer.json["title"]) == (409, "key_federated")


def test_a_set_key_is_not_minted(parts: Parts) -> None:
    """A key whose value is set by hand has nothing to mint."""
    answer = admin_door(parts).administer("POST", "/admin/keys/{name}/mint", None, parameters={"name": "openai"})
    assert (answer.status, answer.json["title"]) == (409, "key_not_federated")


def test_how_a_key_is_held(parts: Parts) -> None:
    """The list says of each key how it is held, until when, and when it is renewed; never the value."""
    minted(parts, NOW + 3600)
    answer = admin_door(parts).administer("GET", "/admin/keys")
    found = {one["name"]: one for one in answer.json["items"]}
    assert (found["anthropic"]["held"], found["anthropic"]["federated"]) == ("static", None)
    openai = found["openai"]
    assert (openai["held"], openai["expires"]) == ("federated", NOW + 3600)
    assert openai["federated"]["identity"] == "broker"
    assert NOW + 0.44 * 3600 <= openai["renews"] <= NOW + 0.56 * 3600
    assert "minted-value" not in answer.body.decode()
