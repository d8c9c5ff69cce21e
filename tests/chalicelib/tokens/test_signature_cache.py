"""A signature that was verified is remembered, and nothing else of the call."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.tokens import jws, signature_cache
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey
from chalicelib.tokens.signature_cache import SignatureCache
from local.signing_key_file import SigningKeyFile
from tests.parts import NOW, SUB, Parts, claims_of, grant
from tests.refused import refused

Admit = Callable[..., None]


@pytest.fixture
def edge(parts: Parts) -> Edge:
    """One edge for all calls of a test."""
    return parts.edge_parts()


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts whose signatures are verified from now on."""
    texts: list[str] = []
    real = tokens.decode

    def counting(unverified: jws.Unverified, key: VerifyingKey) -> object:
        texts.append(unverified.text)
        return real(unverified, key)

    monkeypatch.setattr(tokens, "decode", counting)
    return texts


def admit(edge: Edge, token: str, now: int = NOW, key: str = "openai") -> None:
    admission.admit(Call(token, key, "POST", "/v1/chat/completions"), edge, now)


def reason(edge: Edge, token: str, now: int = NOW, key: str = "openai") -> str:
    return refused(lambda: admit(edge, token, now, key)).reason


def test_verified_once(parts: Parts, edge: Edge, verified: list[str]) -> None:
    """A signature is verified once for one token text."""
    token, other = parts.token(), parts.token()
    verified.clear()  # the exchanges'
    for text in (token, token, other, token, other):
        admit(edge, text)
    assert verified == [token, other]


def test_revoked_though_remembered(parts: Parts, edge: Edge) -> None:
    """A revoked token is refused though its signature is remembered."""
    token = parts.token()
    admit(edge, token)
    made = parts.revoke("token", str(claims_of(token)["jti"]))
    assert reason(edge, token) == "revoked_token"
    parts.restore(made)
    assert reason(edge, token) == "stale_token"


def test_any_revocation_though_remembered(parts: Parts, edge: Edge) -> None:
    """Every kind of revocation is checked again on each call."""
    token = parts.token()
    admit(edge, token)
    parts.revoke("principal", SUB)
    assert reason(edge, token) == "revoked_principal"


def test_tainted_though_remembered(parts: Parts, edge: Edge) -> None:
    """Tokens of a tainted signing key are refused though they were verified."""
    token = parts.token()
    admit(edge, token)
    parts.control.list_signing_keys(("another",))
    assert reason(edge, token) == "signing_key_gone"


def test_key_gone_though_remembered(parts: Parts, edge: Edge, tmp_path: Path) -> None:
    """A remembered signature does not count once its key is gone."""
    token = parts.token()
    admit(edge, token)
    (tmp_path / "other").mkdir()
    stranger = SigningKeyFile.create(tmp_path / "other" / "key.pem")
    assert reason(replace(edge, signing_keys=stranger), token) == "kid_unknown"


def test_another_key_of_the_kid(parts: Parts, edge: Edge, verified: list[str]) -> None:
    """A signature is verified again under another key of the same kid."""
    token = parts.token()
    admit(edge, token)
    verified.clear()
    again = SigningKeyFile(parts.directory / "signing-key.pem")
    admit(replace(edge, signing_keys=again), token)
    assert verified == [token]


def test_expired_though_remembered(parts: Parts, edge: Edge) -> None:
    """A token expires though its signature is remembered."""
    token = parts.token()
    ends = int(claims_of(token)["exp"])
    admit(edge, token, ends - 1)
    assert reason(edge, token, ends) == "exp_past"


def test_audience_though_remembered(parts: Parts, edge: Edge) -> None:
    """A token opens its own key only, though its signature is remembered."""
    token = parts.token()
    admit(edge, token)
    assert reason(edge, token, key="anthropic") == "aud_wrong"


def test_narrower_grant_though_remembered(parts: Parts, edge: Edge) -> None:
    """What the grant no longer allows is refused."""
    token = parts.token()
    admit(edge, token)
    parts.apply(grant(scope='["GET:/v1/models"]'))
    assert reason(edge, token) == "out_of_scope"


def test_another_text_of_the_same_claims(parts: Parts, edge: Edge) -> None:
    """Another text that states the same is verified for itself."""
    token = parts.token()
    admit(edge, token)
    head, payload, signature = token.split(".")
    other = signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BAAA")
    for text, why in (
        (f"{head}.{payload}.{other}", "signature_wrong"),
        (f"{head}.{payload}.", "signature_missing"),
        (f"{head}.{payload}", "not_three_segments"),
        (token + "A", "signature_wrong"),
        (token + "=", "base64_not_canonical"),
        (" " + token, "base64_malformed"),
        ("\ud800" + token, "base64_malformed"),
    ):
        assert reason(edge, text) == why


def test_what_was_refused_is_not_remembered(parts: Parts, edge: Edge) -> None:
    """A refused token is not remembered."""
    forged = parts.token()[:-8] + "AAAAAAAA"
    for _ in range(2):
        assert reason(edge, forged) == "signature_wrong"
    assert edge.signatures.find(forged) is None


def test_cache_limit(parts: Parts, edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are remembered as the limit says, and the first is dropped first."""
    monkeypatch.setattr(signature_cache, "LIMIT", 2)
    texts = [parts.token() for _ in range(3)]
    for text in texts:
        admit(edge, text)
    assert [edge.signatures.find(text) is not None for text in texts] == [False, True, True]


def test_no_token_text_is_kept(parts: Parts) -> None:
    """No token's text is kept."""
    cache, text = SignatureCache(), parts.token()
    unverified = jws.parse(text)
    cache.add(text, tokens.verify_signature(unverified, parts.signer.find(unverified.kid, NOW)))
    held, waiting = set(), [cache]
    while waiting:
        one: object = waiting.pop()
        if id(one) not in held and not isinstance(one, type):
            held.add(id(one))
            waiting += gc.get_referents(one)
            assert not (isinstance(one, str) and text.rpartition(".")[2] in one)


def test_wrong_signature_states_nothing(parts: Parts) -> None:
    """Nothing is stated by a token whose signature is wrong."""
    unverified = jws.parse(parts.token()[:-8] + "AAAAAAAA")
    with pytest.raises(InvalidTokenError, match=r"^signature_wrong$"):
        tokens.verify_signature(unverified, parts.signer.find(unverified.kid, NOW))
