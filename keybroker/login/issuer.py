"""What an OIDC issuer says about itself, as far as a login needs it, and requests to its endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from keybroker import http_client
from keybroker.broker_url import check_url
from keybroker.errors import IdentityError, NotConfigured, Unreachable
from keybroker.http_client import Response
from keybroker.json_object import read_json_object

TIMEOUT = 10.0
"""Seconds to connect, and again until the response is complete."""
_SHOWN = 300
"""Characters of an issuer's text that go into an error."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints of an issuer.

    issuer: its URL. device_authorization, token, revocation: URLs, "" for one that it does not have. offers_refresh: whether
    the scope `offline_access` may be asked for.
    """

    issuer: str
    device_authorization: str
    token: str
    revocation: str
    offers_refresh: bool


class IssuerRefused(IdentityError):  # noqa: N818  a "no", as in keybroker/errors.py
    """The issuer said no. error: its OAuth code. is_temporary: whether it may say yes later."""

    def __init__(self, endpoint: str, response: Response) -> None:
        members = read_json_object(response.body)
        self.error = shown(members.get("error", ""))
        self.is_temporary = response.status >= 500 or response.status == 429
        description = shown(members.get("error_description", ""))
        why = ": ".join(one for one in (self.error, description) if one) or f"HTTP {response.status}"
        super().__init__(f"{urlsplit(endpoint).netloc} refused: {why}")


def discover(issuer: str) -> Endpoints:
    """Fetch an issuer's discovery document.

    Raises Unreachable; NotConfigured: a URL that no token may be sent to; IdentityError: no document, or another issuer's.
    """
    check_issuer(issuer)
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    response = http_client.get(url, {"accept": "application/json"}, TIMEOUT)
    if response.status >= 500:
        raise Unreachable(f"{url} answers with HTTP {response.status}")
    members = read_json_object(response.body) if response.status == 200 else {}
    if not members:
        raise IdentityError(f"{url} is not a discovery document (HTTP {response.status}); check the issuer's URL")
    # SECURITY: tokens are asked for and sent only where the named issuer itself says (test_another_issuers_document).
    if members.get("issuer") != issuer:
        raise IdentityError(
            f"{url} is the document of {shown(members.get('issuer'))!r}; use exactly that as the issuer"
        )
    scopes = members.get("scopes_supported")
    return Endpoints(
        issuer,
        _endpoint(members, "device_authorization_endpoint", issuer),
        _endpoint(members, "token_endpoint", issuer),
        _endpoint(members, "revocation_endpoint", issuer),
        offers_refresh=not isinstance(scopes, list) or "offline_access" in scopes,
    )


def post(url: str, form: Mapping[str, str]) -> Response:
    """Send a form to an endpoint and return the response; raises IssuerRefused for any but 200, and Unreachable."""
    response = http_client.post_form(url, form, TIMEOUT)
    if response.status != 200:
        raise IssuerRefused(url, response)
    return response


def check_issuer(issuer: str) -> None:
    """Raise NotConfigured unless it is a URL that an issuer may have."""
    check_url(issuer, "issuer's URL")
    if "?" in issuer or "#" in issuer:
        raise NotConfigured("the issuer's URL must be without query and fragment")


def shown(text: object) -> str:
    """Return an issuer's text on one line, and not too long; control characters are escaped where it is printed."""
    return " ".join(str(text).split())[:_SHOWN]


def check_endpoint(url: str, issuer: str, name: str) -> None:
    """Raise NotConfigured unless it is a URL that this issuer may send people or tokens to."""
    check_url(url, name)
    # SECURITY: an issuer elsewhere has no business on this machine (test_an_endpoint_in_the_clear_is_refused).
    if url.startswith("http:") and not issuer.startswith("http:"):
        raise NotConfigured(f"the {name} must start with https://")


def _endpoint(members: Mapping[str, object], name: str, issuer: str) -> str:
    url = members.get(name)
    if url is None:
        return ""
    if not isinstance(url, str):
        raise IdentityError(f"the discovery document of {issuer} has no usable {name}")
    check_endpoint(url, issuer, name)
    return url
