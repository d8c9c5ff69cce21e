"""Every route of the public door, and what the OpenAPI document says about it."""

from __future__ import annotations

from chalicelib.federation import assertion
from chalicelib.http import own_usage, public
from chalicelib.http.ports import PublicPorts
from chalicelib.http.route import FORM, JSON, TEXT, Parameter, Route
from chalicelib.tokens.jws import URL_LIMIT

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "identifies a request, so that repeating it is safe (draft-ietf-httpapi-idempotency-key-header)",
    {**TEXT, "minLength": 22, "maxLength": 256, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    location="header",
)
ROUTES: tuple[Route[PublicPorts], ...] = (
    Route(
        "POST",
        "/token",
        "Exchange a subject token for an access token of the broker (RFC 8693, RFC 7523)",
        {200: "TokenAnswer"},
        public.token,
        (IDEMPOTENCY_KEY,),
        body="ExchangeRequest",
        content_types=(JSON, FORM),
        refusals=(429,),
        signed=False,
    ),
    Route(
        "POST",
        "/token/iam",
        "Issue an access token to the AWS role or user that signed the request; there is no subject token",
        {200: "TokenAnswer"},
        public.token_iam,
        (IDEMPOTENCY_KEY,),
        body="IamRequest",
        content_types=(JSON, FORM),
        refusals=(403, 429),
    ),
    Route(
        "POST",
        "/anthropic/v1/oauth/token",
        "Exchange a token as Anthropic's SDKs do by themselves",
        {200: "TokenAnswer"},
        public.token_for_anthropic,
        (IDEMPOTENCY_KEY,),
        body="AnthropicRequest",
        content_types=(JSON, FORM),
        refusals=(429,),
        signed=False,
    ),
    Route(
        "POST",
        "/revoke",
        "Revoke a token that the caller holds (RFC 7009)",
        {200: "Nothing"},
        public.revoke,
        body="RevokeRequest",
        content_types=(JSON, FORM),
        signed=False,
    ),
    Route(
        "GET",
        "/usage",
        "What the holder of a token used of its grant, and what is left of its limits",
        {200: "OwnUsage"},
        own_usage.get_own_usage,
        refusals=(401, 403),
        signed=False,
        bearer=True,
    ),
    Route(
        "GET",
        "/.well-known/jwks.json",
        "The public keys that verify the broker's tokens",
        {200: "Jwks"},
        public.jwks,
        signed=False,
    ),
    Route(
        "GET",
        "/.well-known/oauth-authorization-server",
        "The broker's metadata (RFC 8414)",
        {200: "Metadata"},
        public.metadata,
        signed=False,
    ),
    Route(
        "GET",
        "/.well-known/openid-configuration",
        "The same metadata, where OpenID Connect clients look for it",
        {200: "Metadata"},
        public.metadata,
        signed=False,
    ),
    Route(
        "GET",
        assertion.DISCOVERY,
        "The metadata of the issuer that proves the broker to providers (OpenID Connect Discovery 1.0)",
        {200: "FederationMetadata"},
        public.federation_metadata,
        signed=False,
    ),
    Route(
        "GET",
        assertion.JWKS,
        "The public keys of that issuer; none of them verifies a token of the broker's",
        {200: "Jwks"},
        public.federation_jwks,
        signed=False,
    ),
    Route(
        "GET",
        "/audience",
        "The audience that an issuer's tokens must have",
        {200: "Audience"},
        public.audience,
        (Parameter("issuer", "the issuer's URL", {**TEXT, "minLength": 1, "maxLength": URL_LIMIT}, required=True),),
        signed=False,
    ),
    Route("GET", "/healthz", "Whether state can be read", {200: "Health"}, public.healthz, signed=False),
)
