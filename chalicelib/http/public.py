"""The public door's views: tokens, their revocation by their holder, and the documents that clients read."""

from __future__ import annotations

from chalicelib import rate_limit
from chalicelib.exchange import request as token_request
from chalicelib.exchange.exchange import TokenRequest, exchange, exchange_iam
from chalicelib.exchange.ledger import StateQuery
from chalicelib.exchange.self_revocation import revoke_own_token
from chalicelib.federation import assertion
from chalicelib.http.errors import QueryMalformed
from chalicelib.http.messages import Request, Response
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers import aws
from chalicelib.revocation import EVERYTHING, RevocationTarget
from chalicelib.tokens.jws import unverified_issuer
from chalicelib.tokens.signer import IssuedToken

_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_PUBLIC = {"cache-control": "public, max-age=300"}
DEFAULT_AUDIENCE = "keybroker"
"""The audience that most policies use, and that callers ask their CI for if they know no other."""


def token(request: Request, ports: PublicPorts) -> Response:
    """Exchange a subject token (RFC 8693, RFC 7523), as a form or JSON."""
    return _exchange(token_request.read(_fields(request), request.request_id, request.idempotency_key), ports)


def token_for_anthropic(request: Request, ports: PublicPorts) -> Response:
    """Exchange a token as Anthropic's SDKs do by themselves; the grant comes as `federation_rule_id`."""
    fields = _fields(request)
    asked = token_request.read_anthropic(fields, "anthropic", request.request_id, request.idempotency_key)
    return _exchange(asked, ports)


def token_iam(request: Request, ports: PublicPorts) -> Response:
    """Issue a token to a caller whom API Gateway authenticated by IAM."""
    identity = aws.from_context(request.identity)
    asked = token_request.read_iam(_fields(request), request.request_id, request.idempotency_key)
    return _issued(exchange_iam(asked, identity, ports.broker, ports.clock(), ports.new_id))


def revoke(request: Request, ports: PublicPorts) -> Response:
    """Revoke a token that the caller holds (RFC 7009). Text that is not one of our tokens is ignored."""
    held = token_request.read_revocation(_fields(request))
    revoke_own_token(held, ports.broker, ports.revocations, ports.clock(), request.request_id)
    return Response({}, headers=_NO_STORE)


def jwks(_request: Request, ports: PublicPorts) -> Response:
    """Answer the public keys that verify issued tokens."""
    return Response({"keys": list(ports.jwks())}, headers=_PUBLIC)


def metadata(_request: Request, ports: PublicPorts) -> Response:
    """Answer the broker's metadata (RFC 8414)."""
    url = ports.broker.url
    body = {
        "issuer": url,
        "token_endpoint": f"{url}/token",
        "revocation_endpoint": f"{url}/revoke",
        "protected_resources": [ports.broker.edge_url],  # RFC 9728 section 4
        "jwks_uri": f"{url}/.well-known/jwks.json",
        "grant_types_supported": [token_request.TOKEN_EXCHANGE, token_request.JWT_BEARER],
        "token_endpoint_auth_methods_supported": ["none"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    return Response(body, headers=_PUBLIC)


def federation_metadata(_request: Request, ports: PublicPorts) -> Response:
    """Answer the metadata of the issuer that proves the broker to providers."""
    return Response(assertion.discovery(ports.broker.url), headers=_PUBLIC)


def federation_jwks(_request: Request, ports: PublicPorts) -> Response:
    """Answer that issuer's public keys."""
    return Response({"keys": list(ports.federation_jwks())}, headers=_PUBLIC)


def audience(request: Request, ports: PublicPorts) -> Response:
    """Answer which audience an issuer's tokens must have, for jobs that ask their CI for a token."""
    issuer = unverified_issuer({"iss": request.query.get("issuer")})
    if issuer is None or request.query.keys() != {"issuer"} or request.repeated:
        raise QueryMalformed
    target = RevocationTarget("issuer", issuer)
    found = ports.broker.ledger.find(StateQuery((target,), issuer, "", None, ports.clock())).issuer
    # SECURITY: this route is open to everyone, so an unregistered issuer gets the same answer as one with the default
    # audience (test_audience_hides_registration).
    return Response(
        {"audience": found.audience if found else DEFAULT_AUDIENCE}, headers=_PUBLIC
    )  # `aws` has no audience


def healthz(_request: Request, ports: PublicPorts) -> Response:
    """Answer whether state can be read."""
    ports.broker.ledger.find(StateQuery((EVERYTHING,), "", "", None, ports.clock()))
    return Response({"status": "ok"})


def _fields(request: Request) -> token_request.Fields:
    return token_request.read_fields(request.headers.get("content-type", "application/json"), request.body)


def _exchange(asked: TokenRequest, ports: PublicPorts) -> Response:
    return _issued(exchange(asked, ports.broker, ports.clock(), ports.new_id))


def _issued(issued: IssuedToken) -> Response:
    """Return the response of RFC 8693 section 2.2.1, with the address to use the token at."""
    body = {
        "access_token": issued.access_token,
        "issued_token_type": token_request.ISSUED_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scope,
        "base_url": issued.base_url,
    }
    return Response(body, headers={**_NO_STORE, **rate_limit.headers(issued.allowances)})
