"""The public door's answers: tokens, their revocation by who holds them, and what verifies them."""

from __future__ import annotations

from chalicelib import rate_limit
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange
from chalicelib.exchange import request as token_request
from chalicelib.exchange import self_revocation as holder
from chalicelib.exchange.ledger import StateQuery
from chalicelib.http.messages import Answer, Arrival, Ports
from chalicelib.issuers import aws as aws_identity
from chalicelib.revocation import EVERYTHING, RevocationTarget
from chalicelib.tokens import jws
from chalicelib.tokens.signer import IssuedToken

_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_PUBLIC = {"cache-control": "public, max-age=300"}
USUAL_AUDIENCE = "keybroker"
"""What most policies have, and what callers ask their CI for unless they know better."""


def token(arrival: Arrival, ports: Ports) -> Answer:
    """Exchange a subject token: RFC 8693 and RFC 7523, form and JSON."""
    wanted = token_request.read(_sent(arrival))
    return _issued(exchange.exchange(wanted, ports.broker, ports.clock(), ports.new_id))


def token_for_anthropic(arrival: Arrival, ports: Ports) -> Answer:
    """Exchange as Anthropic's SDKs do by themselves: the grant comes as `federation_rule_id`."""
    wanted = token_request.read_anthropic(_sent(arrival), "anthropic")
    return _issued(exchange.exchange(wanted, ports.broker, ports.clock(), ports.new_id))


def token_iam(arrival: Arrival, ports: Ports) -> Answer:
    """Issue to a caller whom API Gateway authenticated by IAM."""
    identity = aws_identity.from_context(arrival.identity)
    wanted = token_request.read_iam(_sent(arrival))
    return _issued(exchange.exchange_iam(wanted, identity, ports.broker, ports.clock(), ports.new_id))


def revoke(arrival: Arrival, ports: Ports) -> Answer:
    """Take back a token that the caller holds (RFC 7009): what is no token of ours needs no taking back."""
    held = token_request.read_revocation(_sent(arrival))
    holder.revoke_own_token(held, ports.broker, ports.revocations, ports.clock(), arrival.request_id)
    return Answer({}, headers=_NO_STORE)


def jwks(_arrival: Arrival, ports: Ports) -> Answer:
    """Answer the keys that verify issued tokens."""
    return Answer({"keys": list(ports.jwks())}, headers=_PUBLIC)


def metadata(_arrival: Arrival, ports: Ports) -> Answer:
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
    return Answer(body, headers=_PUBLIC)


def audience(arrival: Arrival, ports: Ports) -> Answer:
    """Answer for which audience an issuer's tokens have to be made out, for jobs that ask their CI for one."""
    issuer = jws.unverified_issuer({"iss": arrival.query.get("issuer")})
    if issuer is None or arrival.query.keys() != {"issuer"} or arrival.repeated:
        raise Refusal(
            "query_malformed", "invalid_request", 400, "ask with ?issuer=<the issuer's URL>, and nothing else"
        )
    target = RevocationTarget("issuer", issuer)
    config = ports.broker.ledger.find(StateQuery((target,), "", "", None, ports.clock())).targets[target].config
    # SECURITY: an issuer that nobody registered is answered like one with the usual audience, for anybody may ask
    # (test_whether_an_issuer_is_registered_is_not_told).
    return Answer({"audience": (config or {}).get("audience", USUAL_AUDIENCE)}, headers=_PUBLIC)  # AWS itself has none


def healthz(_arrival: Arrival, ports: Ports) -> Answer:
    """Answer whether state can be read."""
    ports.broker.ledger.find(StateQuery((EVERYTHING,), "", "", None, ports.clock()))
    return Answer({"status": "ok"})


def _sent(arrival: Arrival) -> token_request.Sent:
    return token_request.Sent(
        content_type=arrival.headers.get("content-type", "application/json"),
        body=arrival.body,
        idempotency_key=arrival.headers.get("idempotency-key"),
        request_id=arrival.request_id,
    )


def _issued(issued: IssuedToken) -> Answer:
    """RFC 8693 section 2.2.1, and where to use it."""
    body = {
        "access_token": issued.access_token,
        "issued_token_type": token_request.ISSUED_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scope,
        "base_url": issued.base_url,
    }
    return Answer(body, headers={**_NO_STORE, **rate_limit.headers(issued.allowances)})
