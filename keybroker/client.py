"""Single requests to the broker: exchange an identity for a token (RFC 8693), revoke a token (RFC 7009)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from keybroker import http_client
from keybroker.broker_url import check_broker_url
from keybroker.errors import Refused, Unreachable
from keybroker.http_client import Response
from keybroker.json_object import read_json_object
from keybroker.retry_after import retry_after
from keybroker.token import Token

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
_FORM_HEADERS = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


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

    url: the broker's, `https://…`.
    audience: the name of a key, e.g. `openai`.
    grant: needed where several match.
    scope: `METHOD:/path` values separated by spaces, to get less than the grant allows.
    idempotency_key: 22 to 256 random characters; a repetition with the same key is a retry, any other second use of the
    identity token is refused as a replay.
    timeout: seconds to connect, and again until the response is complete.

    Raises Refused: the broker said no. Unreachable: no response from the broker. NotConfigured: the URL is not usable.
    """
    fields = {"subject_token": subject_token, "subject_token_type": _SUBJECT_TYPE, "audience": audience}
    body = _form({**fields, "grant": grant, "scope": scope})
    return _read_token(http_client.post(f"{url.rstrip('/')}/token", body, _headers(idempotency_key), timeout))


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
    """Get a token as an AWS principal, whose credentials sign the request; one request, no retry.

    region: the broker's, where neither its host name nor the environment says it. Everything else is as in
    `exchange_token`; also raises NoIdentity: there are no AWS credentials. Needs the extra `keybroker[aws]`.
    """
    from keybroker import aws  # noqa: PLC0415  botocore is an extra, and slow to import

    endpoint = f"{url.rstrip('/')}/token/iam"
    check_broker_url(endpoint)
    body, headers = _form({"audience": audience, "grant": grant, "scope": scope}), _headers(idempotency_key)
    signed = aws.sign("POST", endpoint, headers, body, region)
    return _read_token(http_client.post(endpoint, body, {**headers, **signed}, timeout))


def revoke_token(url: str, access_token: str, *, timeout: float = 10.0) -> None:
    """Revoke a token that this program holds: once this returns, no call with it is admitted. One request, no retry.

    url: the broker's. timeout: seconds to connect, and again until the response is complete. A token that has expired or
    that the broker does not know counts as revoked (RFC 7009 section 2.2). Revoking twice changes nothing, so a repetition is safe.

    Raises Refused or Unreachable: the token may still work. NotConfigured: the URL is not usable.
    """
    response = http_client.post(
        f"{url.rstrip('/')}/revoke", urlencode({"token": access_token}).encode(), _FORM_HEADERS, timeout
    )
    if response.status != 200:
        raise read_refusal(response)


def own_usage(url: str, access_token: str, *, timeout: float = 10.0) -> Mapping[str, Any]:
    """Return what the holder of a token used of its grant, and what is left of its limits: the body of `GET /usage`.

    One request, no retry. url: the broker's. timeout: seconds to connect, and again until the response is complete.

    Raises Refused: the token is no longer valid, or revoked. Unreachable. NotConfigured: the URL is not usable.
    """
    address = f"{url.rstrip('/')}/usage"
    check_broker_url(address)
    headers = {"authorization": f"Bearer {access_token}", "accept": "application/json"}
    response = http_client.get(address, headers, timeout)
    if response.status != 200:
        raise read_refusal(response)
    members = read_json_object(response.body)
    if not all(isinstance(members.get(name), list) for name in ("usage", "limits")):
        raise unusable_response(response)
    return members


def read_refusal(response: Response) -> Refused:
    """Return the refusal in a response; raises Unreachable if the response is not a broker's."""
    members = read_json_object(response.body)
    error, description = members.get("error"), members.get("error_description", "")
    if not error or not isinstance(error, str) or not isinstance(description, str) or response.status < 400:
        raise unusable_response(response)
    seconds = retry_after(response.headers.get("retry-after"), time.time())
    refused = Refused(error, description, response.status, response.headers.get("x-request-id", ""), seconds)
    refused.permanent = response.headers.get("x-should-retry", "").lower() == "false"
    return refused


def unusable_response(response: Response) -> Unreachable:
    """Return the error for a response that no broker gives."""
    if response.status == 429 or response.status >= 500:
        text = f"unexpected response (HTTP {response.status}): the broker, or what stands before it, is busy or failing"
    else:
        text = f"unexpected response (HTTP {response.status}): not a Keybroker broker"
    error = Unreachable(text)
    error.status = response.status
    error.retry_after = retry_after(response.headers.get("retry-after"), time.time())
    return error


def _form(fields: dict[str, str | None]) -> bytes:
    given = {name: value for name, value in fields.items() if value is not None}
    return urlencode({"grant_type": _GRANT_TYPE, **given}).encode()


def _headers(idempotency_key: str | None) -> dict[str, str]:
    return dict(_FORM_HEADERS) if idempotency_key is None else {**_FORM_HEADERS, "idempotency-key": idempotency_key}


def _read_token(response: Response) -> Token:
    """Return the token in a token endpoint's response; raises Refused or Unreachable."""
    if response.status != 200:
        raise read_refusal(response)
    members = read_json_object(response.body)
    text, lives, scope, base_url = (members.get(name) for name in ("access_token", "expires_in", "scope", "base_url"))
    bearer = str(members.get("token_type", "")).lower() == "bearer"
    if not (bearer and text and isinstance(text, str) and isinstance(scope, str) and isinstance(base_url, str)):
        raise unusable_response(response)
    if type(lives) is not int or lives <= 0:
        raise unusable_response(response)
    return Token(access_token=text, expires_in=lives, scope=scope, base_url=base_url)
