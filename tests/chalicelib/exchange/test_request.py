from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from chalicelib.errors import Refusal
from chalicelib.exchange.exchange import TokenRequest
from chalicelib.exchange.request import BODY_LIMIT, FIELD_LIMIT, JWT_BEARER, TOKEN_EXCHANGE, read, read_fields

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
JWT = "urn:ietf:params:oauth:token-type:jwt"
GOOD = {"grant_type": TOKEN_EXCHANGE, "subject_token": "a.b.c", "subject_token_type": JWT, "audience": "openai"}
KEY = "0123456789abcdef0123456789abcdef"


def read_body(content_type: str, body: bytes, key: str | None = None) -> TokenRequest:
    return read(read_fields(content_type, body), "req-1", key)


def read_json(fields: object, key: str | None = None) -> TokenRequest:
    return read_body(JSON, json.dumps(fields).encode(), key)


def refused(content_type: str, body: bytes, key: str | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_body(content_type, body, key)
    return caught.value


def malformed(fields: object, key: str | None = None) -> str:
    refusal = refused(JSON, json.dumps(fields).encode(), key)
    assert (refusal.reason, refusal.error, refusal.status) == ("malformed_request", "invalid_request", 400)
    return refusal.description


def test_form_and_json_say_the_same() -> None:
    fields = {**GOOD, "grant": "app", "scope": "GET:/v1/models POST:/v1/x"}
    wanted = TokenRequest("a.b.c", "openai", "req-1", "app", frozenset({"GET:/v1/models", "POST:/v1/x"}), KEY)
    assert read_body(JSON, json.dumps(fields).encode(), KEY) == wanted
    assert read_body(FORM, urlencode(fields).encode(), KEY) == wanted
    assert read_body(f"{FORM.upper()} ; charset=utf-8", urlencode(fields).encode(), KEY) == wanted


def test_what_is_left_out_is_none() -> None:
    assert read_json(GOOD) == TokenRequest("a.b.c", "openai", "req-1", None, None, None)


def test_a_jwt_bearer_grant_brings_its_token_as_the_assertion() -> None:
    assert read_json({"grant_type": JWT_BEARER, "assertion": "a.b.c", "audience": "openai"}) == read_json(GOOD)


def test_an_id_token_is_a_subject_token_too() -> None:
    id_token = "urn:ietf:params:oauth:token-type:id_token"
    assert read_json({**GOOD, "subject_token_type": id_token}) == read_json(GOOD)


@pytest.mark.parametrize("kind", ["urn:ietf:params:oauth:token-type:access_token", JWT, ""])
def test_an_access_token_may_be_requested(kind: str) -> None:
    assert read_json({**GOOD, "requested_token_type": kind}) == read_json(GOOD)


def test_parameters_that_are_unknown_are_ignored() -> None:
    assert read_json({**GOOD, "client_id": "x", "organization_id": "acme"}) == read_json(GOOD)


@pytest.mark.parametrize("name", ["grant", "scope"])
def test_a_parameter_without_a_value_counts_as_omitted(name: str) -> None:
    assert read_body(FORM, urlencode({**GOOD, name: ""}).encode()) == read_json(GOOD)


@pytest.mark.parametrize("name", list(GOOD))
def test_each_parameter_that_is_missing_is_named(name: str) -> None:
    fields = {one: value for one, value in GOOD.items() if one != name}
    assert malformed(fields) == f"{name} is missing"
    assert malformed({**fields, name: ""}) == f"{name} is missing"


def test_an_assertion_that_is_missing_is_named() -> None:
    assert malformed({"grant_type": JWT_BEARER, "audience": "openai"}) == "assertion is missing"


@pytest.mark.parametrize(
    "name", ["grant_type", "subject_token_type", "audience", "grant", "scope", "requested_token_type"]
)
def test_a_parameter_is_text_of_bounded_size(name: str) -> None:
    text = f"{name} must be text of at most {FIELD_LIMIT} characters"
    for value in (5, True, ["x"], {"x": 1}, "x" * (FIELD_LIMIT + 1)):
        assert malformed({**GOOD, name: value}) == text


def test_a_parameter_is_unicode_text() -> None:
    assert malformed({**GOOD, "audience": "\ud800"}) == "audience must be Unicode text"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
            "subject_token_type must be jwt or id_token",
        ),
        ({"requested_token_type": "urn:x"}, "requested_token_type must be access_token"),
        ({"actor_token": "a.b.c"}, "actor_token is not supported"),
        ({"scope": " "}, "scope must name at least one METHOD:/path"),
    ],
)
def test_what_is_not_supported_is_said(change: dict[str, str], text: str) -> None:
    assert malformed({**GOOD, **change}) == text


def test_another_grant_type_is_unsupported() -> None:
    refusal = refused(JSON, json.dumps({**GOOD, "grant_type": "client_credentials"}).encode())
    assert (refusal.reason, refusal.error, refusal.status) == ("grant_type", "unsupported_grant_type", 400)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 50_000, b"1" * 5000])
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    refusal = refused(JSON, body)
    assert (refusal.status, refusal.description) == (400, "the body must be a JSON object")


@pytest.mark.parametrize("body", [b"audience", b"\xff=1", "é=1".encode(), b"&".join([b"a=1"] * 33)])
def test_a_body_that_is_no_form_is_malformed(body: bytes) -> None:
    refusal = refused(FORM, body)
    assert (refusal.status, refusal.description) == (400, "malformed form body")


def test_a_parameter_that_was_sent_twice_is_malformed() -> None:
    form = urlencode([*GOOD.items(), ("audience", "openai")]).encode()
    text = json.dumps(GOOD)[:-1].encode() + b', "audience": "openai"}'
    for content_type, body in ((FORM, form), (JSON, text)):
        assert refused(content_type, body).description == "a parameter was sent twice"


def test_a_body_over_the_limit_is_a_413_and_one_at_it_is_read() -> None:
    refusal = refused(JSON, b" " * (BODY_LIMIT + 1))
    assert (refusal.reason, refusal.error, refusal.status) == ("body_too_large", "invalid_request", 413)
    good = json.dumps(GOOD).encode()
    assert read_body(JSON, good + b" " * (BODY_LIMIT - len(good))) == read_json(GOOD)


@pytest.mark.parametrize("key", ["", "x", "x" * 21, "x" * 257, "é" * 22, "x" * 22 + "\n"])
def test_a_guessable_idempotency_key_is_malformed(key: str) -> None:
    """An Idempotency-Key that could be guessed, or is not text, is malformed."""
    assert malformed(GOOD, key).startswith("Idempotency-Key must have 22 to 256")


@pytest.mark.parametrize("key", ["x" * 22, "x" * 256])
def test_an_idempotency_key_is_taken_as_it_is(key: str) -> None:
    assert read_json(GOOD, key).idempotency_key == key
