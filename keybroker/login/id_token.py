"""What is checked of an issuer's tokens before they are kept. Signatures are not: only the broker verifies them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from keybroker.claims import unverified_claims
from keybroker.errors import IdentityError
from keybroker.http_client import Response
from keybroker.json_object import read_json_object
from keybroker.sources.identity_request import check_token

_REFRESH_TOKEN = re.compile(r"[ -~]{0,16384}")
"""RFC 6749 appendix A.17; "" for none."""


@dataclass(frozen=True, slots=True)
class Login:
    """A person's login.

    issuer: its URL. client_id: the public client's, and so the ID token's `aud`. id_token: what is proved to the broker.
    refresh_token: gets the next one; "" where the issuer gave none, or has ended the login.
    """

    issuer: str
    client_id: str
    # SECURITY: no token reaches a log by way of a repr (test_a_login_shows_no_token).
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


def read_login(response: Response, issuer: str, client_id: str, now: float) -> Login:
    """Return the login in a token endpoint's response. now: epoch seconds. Raises IdentityError."""
    members = read_json_object(response.body)
    token, refresh_token = members.get("id_token"), members.get("refresh_token") or ""
    if not isinstance(token, str):
        raise IdentityError(f"{issuer} issued no ID token; the client must be an OpenID Connect client")
    if not isinstance(refresh_token, str) or not _REFRESH_TOKEN.fullmatch(refresh_token):
        raise IdentityError(f"{issuer} issued a refresh token that cannot be kept")
    login = Login(issuer, client_id, check_token(token, f"the response of {issuer}"), refresh_token)
    claims = unverified_claims(login.id_token)
    audience, expires = claims.get("aud"), expiry(login)
    if claims.get("iss") != issuer:
        raise IdentityError(f"the ID token is of another issuer than {issuer}; the broker would refuse it")
    if audience not in (client_id, [client_id]):
        raise IdentityError("the ID token is for another client, or for several; the broker would refuse it")
    if not subject(login):
        raise IdentityError(f"the ID token of {issuer} names no subject")
    if expires <= now:
        raise IdentityError(f"the ID token of {issuer} has expired already; check this machine's clock")
    return login


def renewed(old: Login, response: Response, now: float) -> Login:
    """Return the login after a refresh; the refresh token stays where no new one came. Raises IdentityError."""
    new = read_login(response, old.issuer, old.client_id, now)
    # SECURITY: OpenID Connect Core section 12.2 (test_another_subject_is_not_taken_over).
    if subject(new) != subject(old):
        raise IdentityError(f"{old.issuer} answered with another person's ID token")
    return new if new.refresh_token else replace(new, refresh_token=old.refresh_token)


def with_next_refresh_token(old: Login, response: Response) -> Login:
    """Return the login with a response's refresh token alone, where its ID token is missing or of no use (a wrong clock)."""
    members = read_json_object(response.body)
    token, refresh_token = members.get("id_token"), members.get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token or not _REFRESH_TOKEN.fullmatch(refresh_token):
        return old
    # SECURITY: as `renewed` (test_another_subject_is_not_taken_over).
    same = token is None or (isinstance(token, str) and subject(replace(old, id_token=token)) == subject(old))
    return replace(old, refresh_token=refresh_token) if same else old


def subject(login: Login) -> str:
    """Return the `sub` of its ID token, "" for none."""
    value = unverified_claims(login.id_token).get("sub")
    return value if isinstance(value, str) else ""


def expiry(login: Login) -> float:
    """Return when its ID token expires, in epoch seconds; 0 if it does not say."""
    value = unverified_claims(login.id_token).get("exp")
    return float(value) if isinstance(value, int | float) and 0 < value < 2**33 else 0.0
