"""The public door's answers: tokens, their revocation by who holds them, and what verifies them."""

from __future__ import annotations

from chalicelib import rate_limit
from chalicelib.exchange import exchange
from chalicelib.exchange import request as token_request
from chalicelib.exchange import self_revocation as holder
from chalicelib.exchange.ledger import StateQuery
from chalicelib.http.errors import QueryMalformed
from chalicelib.http.messages import Request, Response
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers import aws as aws_identity
from chalicelib.revocation import EVERYTHING, RevocationTarget
from chalicelib.tokens import jws
from chalicelib.tokens.signer import IssuedToken

_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_PUBLIC = {"cache-control": "public, max-age=300"}
USUAL_AUDIENCE = "keybroker"
"""What most policies have, and what callers ask their CI for unless they know better."""


def token(request: Request, ports: PublicPorts) -> Response:
    """Exchange a subject token: RFC 8693 and RFC 7523, form and JSON."""
    wanted = token_request.read(_sent(request))
    return _issued(exchange.exchange(wanted, ports.broker, ports.clock(), ports.new_id))


def token_for_anthropic(request: Request, ports: PublicPorts) -> Response:
    """Exchange as Anthropic's SDKs do by themselves: the grant comes as `federation_rule_id`."""
    wanted = token_request.read_anthropic(_sent(request), "anthropic")
    return _issued(exchange.exchange(wanted, ports.broker, ports.clock(), ports.new_id))


def token_iam(request: Request, ports: PublicPorts) -> Response:
    """Issue to a caller whom API Gateway authenticated by IAM."""
    identity = aws_identity.from_context(request.identity)
    wanted = token_request.read_iam(_sent(request))
    return _issued(exchange.exchange_iam(wanted, identity, ports.broker, ports.clock(), ports.new_id))


def revoke(request: Request, ports: PublicPorts) -> Response:
    """Take back a token that the caller holds (RFC 7009): what is no token of ours needs no taking back."""
    held = token_request.read_revocation(_sent(request))
    holder.revoke_own_token(held, ports.broker, ports.revocations, ports.clock(), request.request_id)
    return Response({}, headers=_NO_STORE)


def jwks(_request: Request, ports: PublicPorts) -> Response:
    """Answer the keys that verify issued tokens."""
    return Response({"keys": list(ports.jwks())}, headers=_PUBLIC)


def metadata(_request: Request, ports: PublicPorts) -> Response:
    """Answer RFC 8414's metadata."""
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


def audience(request: Request, ports: PublicPorts) -> Response:
    """Answer for which audience an issuer's tokens have to be made out, for jobs that ask their CI for one."""
    issuer = jws.unverified_issuer({"iss": request.query.get("issuer")})
    if issuer is None or request.query.keys() != {"issuer"} or request.repeated:
        raise QueryMalformed
    target = RevocationTarget("issuer", issuer)
    found = ports.broker.ledger.find(StateQuery((target,), issuer, "", None, ports.clock())).issuer
    # SECURITY: an issuer that nobody registered is answered like one with the usual audience, for anybody may ask
    # (test_audience_hides_registration).
    return Response({"audience": found.audience if found else USUAL_AUDIENCE}, headers=_PUBLIC)  # AWS itself has none


def healthz(_request: Request, ports: PublicPorts) -> Response:
    """Answer whether state can be read."""
    ports.broker.ledger.find(StateQuery((EVERYTHING,), "", "", None, ports.clock()))
    return Response({"status": "ok"})


def _sent(request: Request) -> token_request.Sent:
    return token_request.Sent(
        content_type=request.headers.get("content-type", "application/json"),
        body=request.body,
        idempotency_key=request.headers.get("idempotency-key"),
        request_id=request.request_id,
    )


def _issued(issued: IssuedToken) -> Response:
    """RFC 8693 section 2.2.1, and where to use it."""
    body = {
        "access_token": issued.access_token,
        "issued_token_type": token_request.ISSUED_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scope,
        "base_url": issued.base_url,
    }
    return Response(body, headers={**_NO_STORE, **rate_limit.headers(issued.allowances)})
