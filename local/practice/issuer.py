"""The practice issuer: an OIDC issuer that signs any claims, and has the token endpoint of GitHub's runners.

Its callers can claim any identity, so it must never be trusted outside of one machine.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

_ALGORITHM = "RS256"
_LIFETIME = 300  # seconds, as in GitHub's tokens
_BACKDATED = 600  # seconds from `nbf` to `iat` in GitHub's tokens
_MAX_TTL = 10 * 365 * 24 * 3600  # seconds; also bounds how far in the past a token may expire
_MAX_JSON_BYTES = 64 * 1024
_GITHUB_AUDIENCE = "https://github.com/octo-org"


@dataclass(frozen=True, slots=True)
class _Signer:
    """The issuer's signing key, its public key as a JWK, and the issuer's URL."""

    key: rsa.RSAPrivateKey
    jwk: dict[str, str]
    url: Callable[[], str]

    def sign(self, claims: dict[str, object], ttl: int = _LIFETIME) -> str:
        """Sign these claims, with `iss`, `iat`, `exp` and `jti` filled in unless given; a claim that is None is left out."""
        issued_at = claims.get("iat")
        now = issued_at if type(issued_at) is int else int(time.time())
        own: dict[str, object] = {"iss": self.url(), "iat": now, "exp": now + ttl, "jti": str(uuid.uuid4())}
        payload = {name: value for name, value in (own | claims).items() if value is not None}
        # `jwt.encode` would check the types of registered claims, but tests need forged tokens.
        return jwt.PyJWS().encode(
            json.dumps(payload, separators=(",", ":")).encode(),
            self.key,
            algorithm=_ALGORITHM,
            headers={"kid": self.jwk["kid"]},
        )


_SIGNER = web.AppKey("signer", _Signer)
_REQUEST_TOKEN = web.AppKey("request_token", str)


def make_issuer(url: str | Callable[[], str], *, request_token: str) -> web.Application:
    """Make the practice issuer with a new RSA key of 2048 bits.

    `url` is the issuer's URL without a trailing slash, or a function that returns it if the port is known only later.
    `request_token` is the bearer token for the endpoint of GitHub's runners, `GET /_runner/token?api-version=2.0&audience=A`, which returns
    `{"count": …, "value": JWT}`. `POST /_mint` needs no token: a JSON object of claims gives `{"token": JWT}`, with
    `iss`, `iat`, `exp` (`?ttl=` seconds after `iat`, 300 unless given, negative for an expired one) and `jti` filled in
    unless given; a given value is signed as it is, whatever its type, and a claim given as null is left out.
    Raises `ValueError` if `request_token` is empty.
    """
    if not request_token:
        raise ValueError("the practice issuer's request token is empty")
    app = web.Application(client_max_size=_MAX_JSON_BYTES)
    app[_SIGNER] = _new_signer(url if callable(url) else lambda: url)
    app[_REQUEST_TOKEN] = request_token
    app.router.add_get("/.well-known/openid-configuration", _discovery)
    app.router.add_get("/.well-known/jwks", _jwks)
    app.router.add_post("/_mint", _mint)
    app.router.add_get("/_runner/token", _runner_token)
    return app


def github_claims() -> dict[str, str]:
    """Return the claims of a GitHub Actions token for a push to main; all are strings.

    Left out are those of a single token (`iss`, `aud`, `iat`, `nbf`, `exp`, `jti`) and `environment`, which only jobs
    with an environment have.
    """
    workflow = "octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main"
    sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
    return {
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "repository": "octo-org/octo-repo",
        "repository_id": "1234",
        "repository_owner": "octo-org",
        "repository_owner_id": "9919",
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "base_ref": "",
        "head_ref": "",
        "sha": sha,
        "event_name": "push",
        "workflow": "CI",
        "workflow_ref": workflow,
        "workflow_sha": sha,
        "job_workflow_ref": workflow,
        "job_workflow_sha": sha,
        "run_id": "11977054321",
        "run_number": "42",
        "run_attempt": "1",
        "check_run_id": "33398112233",
        "actor": "octocat",
        "actor_id": "583231",
        "runner_environment": "github-hosted",
    }


def _new_signer(url: Callable[[], str]) -> _Signer:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    members = {name: str(public[name]) for name in ("e", "kty", "n")}  # RFC 7638 requires these three, in this order
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return _Signer(key, members | {"use": "sig", "alg": _ALGORITHM, "kid": kid}, url)


async def _discovery(request: web.Request) -> web.Response:
    url = request.app[_SIGNER].url()
    return web.json_response(
        {
            "issuer": url,
            "jwks_uri": f"{url}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "claims_supported": ["iss", "aud", "iat", "nbf", "exp", "jti", *github_claims()],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
            "scopes_supported": ["openid"],
        }
    )


async def _jwks(request: web.Request) -> web.Response:
    return web.json_response({"keys": [request.app[_SIGNER].jwk]})


async def _mint(request: web.Request) -> web.Response:
    try:
        ttl = int(request.query.get("ttl", _LIFETIME))
        claims = json.loads(await request.read())
    except (ValueError, RecursionError) as fault:
        return _fault(400, f"a JSON object of claims, and ?ttl= in whole seconds, are required: {fault}")
    if not isinstance(claims, dict):
        return _fault(400, "the claims must be a JSON object")
    if abs(ttl) > _MAX_TTL:
        return _fault(400, f"ttl must be within {_MAX_TTL} seconds")
    return web.json_response({"token": request.app[_SIGNER].sign(claims, ttl)})


async def _runner_token(request: web.Request) -> web.Response:
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    expected = request.app[_REQUEST_TOKEN]
    if scheme.lower() != "bearer" or not hmac.compare_digest(_octets(presented.strip()), _octets(expected)):
        return _fault(401, "the runner's request token is missing or wrong")
    now = int(time.time())
    audience = request.query.get("audience") or _GITHUB_AUDIENCE
    claims: dict[str, object] = {**github_claims(), "aud": audience, "iat": now, "nbf": now - _BACKDATED}
    value = request.app[_SIGNER].sign(claims)
    return web.json_response({"count": len(value), "value": value})


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a header may contain bytes that are not UTF-8


def _fault(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
