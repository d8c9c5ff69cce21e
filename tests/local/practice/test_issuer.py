import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from urllib.parse import urlsplit

import id as ambient
import jwt
import pytest
from aiohttp import web

from local.practice.issuer import github_claims, make_issuer

REQUEST_TOKEN = "the-runners-own-token"
RUNNER = "/_runner/token?api-version=2.0"
BEARER = {"Authorization": f"bearer {REQUEST_TOKEN}"}
PATIENCE = 10.0  # seconds until a test gives up waiting


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Serve one issuer on a free loopback port, on a loop in a thread of its own; yield its address."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    address: list[str] = []

    async def serve() -> None:
        runner = web.AppRunner(make_issuer(lambda: address[0], request_token=REQUEST_TOKEN), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, stop = started.result(PATIENCE)
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(PATIENCE)


def call(
    url: str, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def mint(url: str, claims: object, query: str = "") -> str:
    status, answer = call(url, "POST", f"/_mint{query}", body=json.dumps(claims).encode())
    assert status == 200
    return str(answer["token"])


def signed(url: str, token: str) -> dict[str, object]:
    """Verify the signature, and nothing else, with the key that the issuer publishes."""
    keys = jwt.PyJWKSet.from_dict(call(url, "GET", "/.well-known/jwks")[1])
    key = keys[str(jwt.get_unverified_header(token)["kid"])]
    payload = json.loads(jwt.PyJWS().decode(token, key, algorithms=["RS256"]))
    assert isinstance(payload, dict)
    return payload


def test_discovery_has_the_late_known_url(issuer: str) -> None:
    """The discovery document has the issuer's URL, even if its port was known late."""
    status, document = call(issuer, "GET", "/.well-known/openid-configuration")
    assert (status, document["issuer"], document["jwks_uri"]) == (200, issuer, f"{issuer}/.well-known/jwks")
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]


def test_jwks_has_one_public_rsa_key(issuer: str) -> None:
    """The JWKS has one public RS256 key of 2048 bits."""
    keys = call(issuer, "GET", "/.well-known/jwks")[1]["keys"]
    assert isinstance(keys, list)
    (key,) = keys
    assert set(key) == {"kty", "n", "e", "use", "alg", "kid"}
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")
    assert jwt.PyJWK(key).key.key_size == 2048


def test_what_a_token_lacks_is_filled_in(issuer: str) -> None:
    before = int(time.time())
    claims = signed(issuer, mint(issuer, {"sub": "me"}))
    assert set(claims) == {"iss", "iat", "exp", "jti", "sub"}
    issued_at = claims["iat"]
    assert isinstance(issued_at, int)
    assert before <= issued_at <= time.time()
    assert (claims["iss"], claims["exp"], claims["sub"]) == (issuer, issued_at + 300, "me")


def test_no_two_tokens_share_a_jti(issuer: str) -> None:
    assert signed(issuer, mint(issuer, {}))["jti"] != signed(issuer, mint(issuer, {}))["jti"]


def test_given_claims_are_signed_unchanged(issuer: str) -> None:
    """Given claims are signed unchanged, whatever their type."""
    forged = {"iss": 1, "iat": "yesterday", "exp": True, "jti": ["a"], "sub": {"b": 1.5}, "aud": False}
    assert signed(issuer, mint(issuer, forged)) == forged


def test_a_claim_given_as_null_is_left_out(issuer: str) -> None:
    assert set(signed(issuer, mint(issuer, {"exp": None, "jti": None, "sub": None}))) == {"iss", "iat"}


def test_token_expires_after_300_seconds(issuer: str) -> None:
    """A token expires 300 seconds after the given `iat`."""
    assert signed(issuer, mint(issuer, {"iat": 1000}))["exp"] == 1300


@pytest.mark.parametrize("ttl", [7, -60])
def test_ttl_sets_the_seconds_until_expiry(issuer: str, ttl: int) -> None:
    assert signed(issuer, mint(issuer, {"iat": 1000}, f"?ttl={ttl}"))["exp"] == 1000 + ttl


@pytest.mark.parametrize(
    ("query", "body", "said"),
    [
        ("", b"", "a JSON object of claims"),
        ("", b"{", "a JSON object of claims"),
        ("", b"\xff", "a JSON object of claims"),
        ("", b"[" * 50_000, "a JSON object of claims"),
        ("", b'["sub"]', "the claims must be a JSON object"),
        ("", b"null", "the claims must be a JSON object"),
        ("?ttl=soon", b"{}", "?ttl= in whole seconds"),
        ("?ttl=1e3", b"{}", "?ttl= in whole seconds"),
        ("?ttl=99999999999", b"{}", "ttl must be within"),
    ],
)
def test_malformed_mint_request_is_a_400(issuer: str, query: str, body: bytes, said: str) -> None:
    """A malformed request is a 400 that says what is required."""
    status, answer = call(issuer, "POST", f"/_mint{query}", body=body)
    assert status == 400
    assert said in str(answer["error"])


def test_the_unmodified_id_package_finds_its_token(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{issuer}{RUNNER}")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
    token = ambient.detect_credential("keybroker")
    assert token is not None
    claims = signed(issuer, token)
    assert (claims["iss"], claims["aud"]) == (issuer, "keybroker")


def test_wrong_request_token_is_refused(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The `id` package is refused with another runner's request token."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{issuer}{RUNNER}")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another")
    with pytest.raises(ambient.AmbientCredentialError, match="code=401"):
        ambient.detect_credential("keybroker")


def test_runner_token_has_githubs_claims(issuer: str) -> None:
    """A runner's token has GitHub's claims and times."""
    status, answer = call(issuer, "GET", f"{RUNNER}&audience=keybroker", headers=BEARER)
    claims = signed(issuer, str(answer["value"]))
    assert (status, answer["count"]) == (200, len(str(answer["value"])))
    issued_at = claims["iat"]
    assert isinstance(issued_at, int)
    assert (claims["nbf"], claims["exp"]) == (issued_at - 600, issued_at + 300)
    own = {"iss", "aud", "iat", "nbf", "exp", "jti"}
    assert {name: value for name, value in claims.items() if name not in own} == github_claims()


def test_runner_token_default_audience(issuer: str) -> None:
    """A runner's token is for the repository's owner unless an audience is requested."""
    value = str(call(issuer, "GET", RUNNER, headers=BEARER)[1]["value"])
    assert signed(issuer, value)["aud"] == "https://github.com/octo-org"


@pytest.mark.parametrize(
    "authorization", [None, "", "bearer", "bearer wrong", REQUEST_TOKEN, f"basic {REQUEST_TOKEN}", "bearer \xff"]
)
def test_a_runner_without_the_request_token_gets_a_401(issuer: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    status, answer = call(issuer, "GET", RUNNER, headers=headers)
    assert (status, answer) == (401, {"error": "the runner's request token is missing or wrong"})


def test_an_empty_request_token_opens_nothing() -> None:
    with pytest.raises(ValueError, match="request token is empty"):
        make_issuer("http://127.0.0.1", request_token="")


def test_github_claims_have_no_environment() -> None:
    """GitHub's claims name the practice repository and no environment."""
    claims = github_claims()
    assert (claims["repository_id"], claims["repository_owner_id"]) == ("1234", "9919")
    assert (claims["repository"], claims["event_name"]) == ("octo-org/octo-repo", "push")
    assert "environment" not in claims
