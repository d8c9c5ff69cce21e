"""Identity -> token of the broker (RFC 8693)."""

from __future__ import annotations

from urllib.parse import urlencode

from keybroker import bounded_http, broker_answer
from keybroker.broker_url import checked_broker
from keybroker.issued_token import Token

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


def exchange_token(  # noqa: PLR0913  the parameters of the request itself
    url: str,
    subject_token: str,
    audience: str,
    *,
    grant: str | None = None,
    scope: str | None = None,
    idempotency_key: str | None = None,
    timeout: float = 10.0,
) -> Token:
    """Exchange an identity token for a token that stands in for the provider's key; one request, no retry.

    url: the broker's, `https://…`. audience: the name of a key, e.g. `openai`. grant: needed where several match.
    scope: `METHOD:/path` values with spaces between, to get less than the grant allows. idempotency_key: 22 to 256
    random characters; a repetition that brings the same one is a retry, any other second use of the identity token is
    refused as a replay. timeout: seconds to connect, and again until the answer is there.

    Raises Refused: the broker said no. Unreachable: there was no broker's answer. NotConfigured: the URL is not usable.
    """
    fields = {"subject_token": subject_token, "subject_token_type": _SUBJECT_TYPE, "audience": audience}
    body = _form({**fields, "grant": grant, "scope": scope})
    return broker_answer.token(bounded_http.post(f"{url.rstrip('/')}/token", body, _headers(idempotency_key), timeout))


def exchange_signature(  # noqa: PLR0913  the parameters of the request itself
    url: str,
    audience: str,
    *,
    grant: str | None = None,
    scope: str | None = None,
    idempotency_key: str | None = None,
    timeout: float = 10.0,
    region: str | None = None,
) -> Token:
    """Get such a token as an AWS principal, whose credentials sign the request; one request, no retry.

    region: the broker's, where neither its host nor the environment says it. The rest, and what is raised, is as in
    `exchange_token`, and NoIdentity: there are no AWS credentials. Needs the extra `keybroker[aws]`.
    """
    from keybroker import aws  # noqa: PLC0415  botocore is an extra, and takes long to import

    where = f"{url.rstrip('/')}/token/iam"
    checked_broker(where)
    body, headers = _form({"audience": audience, "grant": grant, "scope": scope}), _headers(idempotency_key)
    signed = aws.sign("POST", where, headers, body, region)
    return broker_answer.token(bounded_http.post(where, body, {**headers, **signed}, timeout))


def _form(fields: dict[str, str | None]) -> bytes:
    wanted = {name: value for name, value in fields.items() if value is not None}
    return urlencode({"grant_type": _GRANT_TYPE, **wanted}).encode()


def _headers(idempotency_key: str | None) -> dict[str, str]:
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    return headers if idempotency_key is None else {**headers, "idempotency-key": idempotency_key}
