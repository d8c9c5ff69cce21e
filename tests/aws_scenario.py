"""The scenario for tests of an AWS installation: a policy whose issuer needs no network, and callers of both doors."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.running import JWT, TOKEN_EXCHANGE, Answer

ISSUER = "https://ci.example.com"
ADMINISTRATOR = "arn:aws:sts::000000000000:assumed-role/keybroker-administrator/ada"
ROLE = {
    "accountId": "000000000000",
    "caller": "AROAEXAMPLEEXAMPLEEX1:session-1",
    "user": "AROAEXAMPLEEXAMPLEEX1:session-1",
    "userArn": "arn:aws:sts::000000000000:assumed-role/billing/session-1",
}
"""What API Gateway says of an IAM caller."""
KEY_VALUE = "sk-made-up-0123456789abcdef"

Send = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Calls a function with API Gateway's event and returns what it answers."""

_KEY = ec.generate_private_key(ec.SECP256R1())
_IDS = itertools.count(1)


def policy() -> str:
    """Return the policy: CI jobs that show a token, and a role, may have tokens for OpenAI; `build-2` for two calls."""
    public = {**json.loads(ECAlgorithm.to_jwk(_KEY.public_key())), "kid": "ci-1", "use": "sig"}
    scope = '["POST:/v1/chat/completions", "GET:/v1/models"]'
    return f"""\
keys: {{openai: {{provider: openai}}}}
issuers:
  ci: {{url: "{ISSUER}", audience: keybroker, algorithms: [ES256], jwks: {json.dumps({"keys": [public]})}}}
grants:
  app:
    key: openai
    to: {{issuer: ci, claims: {{sub: build-1}}}}
    scope: {scope}
    quota: {{tokens: 100/hour, calls: 100/minute}}
  small:
    key: openai
    to: {{issuer: ci, claims: {{sub: build-2}}}}
    scope: {scope}
    quota: {{tokens: 100/hour, calls: [2/minute, 1000/day]}}
  billing:
    key: openai
    to: {{aws: "arn:aws:iam::000000000000:role/billing"}}
    scope: {scope}
    quota: {{tokens: 100/hour, calls: 100/minute}}
"""


def subject_token(subject: str = "build-1") -> str:
    """Return an identity token of the issuer's, good for five minutes."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "keybroker", "sub": subject, "iat": now, "exp": now + 300}
    return jwt.encode({**claims, "jti": secrets.token_hex(8)}, _KEY, algorithm="ES256", headers={"kid": "ci-1"})


def wanted(subject: str = "") -> dict[str, str]:
    """Return what is sent for a token."""
    sent = {"subject_token": subject or subject_token(), "subject_token_type": JWT, "audience": "openai"}
    return {"grant_type": TOKEN_EXCHANGE, **sent}


def event(
    method: str,
    resource: str,
    body: object,
    identity: Mapping[str, str],
    *,
    if_match: str = '"0"',
    authorization: str = "",
    query: Mapping[str, str] | None = None,
    **parameters: str,
) -> dict[str, Any]:
    """Return API Gateway's event (payload 1.0). body: sent as JSON. parameters: those of the path."""
    request_id = f"request-{next(_IDS)}"
    headers = {"content-type": "application/json", "if-match": if_match, "authorization": authorization}
    context = {"resourcePath": resource, "httpMethod": method, "requestId": request_id, "path": resource}
    return {
        "resource": resource,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {**context, "identity": {"sourceIp": "203.0.113.1", **identity}},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


class Caller:
    """A caller of one function, as API Gateway invokes it. identity: what API Gateway says of the signer, if any."""

    def __init__(self, send: Send, identity: Mapping[str, str] | None = None) -> None:
        self._send, self._identity = send, identity or {}

    def ask(
        self,
        method: str,
        resource: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> Answer:
        """Call a route; again if the state took longer than a busy machine has."""
        for _ in range(4):
            answered = self._send(event(method, resource, body, self._identity, query=query, **parameters))
            named = {name.lower(): value for name, value in answered["headers"].items()}
            answer = Answer(answered["statusCode"], named, str(answered["body"]).encode())
            if answer.status != 503:
                break
        return answer


def put_in_force(administrator: Caller, text: str) -> Answer:
    """Put a first policy in force."""
    return administrator.ask("PUT", "/admin/policy", {"text": text})


def edge_event(token: str, path: str = "/openai/v1/chat/completions") -> dict[str, Any]:
    """Return CloudFront's event of a call with a token."""
    sent = {"Host": "origin.invalid", "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = {
        "clientIp": "203.0.113.178",
        "headers": {name.lower(): [{"key": name, "value": value}] for name, value in sent.items()},
        "method": "POST",
        "origin": {"custom": {"domainName": "origin.invalid", "keepaliveTimeout": 5, "readTimeout": 120}},
        "querystring": "",
        "uri": path,
    }
    return {"Records": [{"cf": {"config": {"requestId": f"edge-{next(_IDS)}"}, "request": request}}]}
