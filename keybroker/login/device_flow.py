"""The device flow (RFC 8628): a code that a person confirms in a browser, on this machine or another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keybroker.errors import IdentityError, Unreachable
from keybroker.http_client import Response
from keybroker.json_object import read_json_object
from keybroker.login import issuer
from keybroker.login.issuer import Endpoints, IssuerRefused, check_endpoint, shown

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL, _SLOWER, _INTERVALS = 5.0, 5.0, (1.0, 60.0)
"""Seconds between two requests where the issuer names none, by which `slow_down` lengthens them, and their bounds."""
_LIFETIME, _LONGEST = 600.0, 1800.0
"""Seconds for which a code is waited for where the issuer names none, and at most."""
_TEXT = re.compile(r"[!-~]{1,8192}")
"""A device code (RFC 6749 appendix A) or a URL: what a request, a terminal and a browser take as it is."""
_REASONS: Mapping[str, str] = {
    "access_denied": "the login was denied in the browser",
    "expired_token": "the code was not confirmed in time; run keybroker login again",
}
_OF_CLIENT = ("invalid_client", "unauthorized_client")


@dataclass(frozen=True, slots=True)
class Codes:
    """What the issuer gave for one login.

    device_code: what is waited with. user_code: what the person compares or enters. verification_uri: where.
    verification_uri_complete: the same with the code in it, or "". expires_in, interval: seconds.
    """

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: float
    interval: float


def begin(endpoints: Endpoints, client_id: str) -> Codes:
    """Ask for a code. Raises Unreachable; NotConfigured: an unusable URL; IdentityError: refused, or no device flow."""
    if not (endpoints.device_authorization and endpoints.token):
        raise IdentityError(f"{endpoints.issuer} does not offer the device flow (RFC 8628)")
    scopes = ["openid offline_access", "openid"] if endpoints.offers_refresh else ["openid"]
    for scope in scopes:
        # OpenID Connect Core section 11: offline access needs consent, which some issuers want asked for here, too.
        form = {"client_id": client_id, "scope": scope, **({"prompt": "consent"} if scope != "openid" else {})}
        try:
            return _codes(issuer.post(endpoints.device_authorization, form), endpoints)
        except IssuerRefused as refused:
            if refused.error != "invalid_scope" or scope == scopes[-1]:
                raise _explained(refused) from None
    raise AssertionError


def wait(
    endpoints: Endpoints,
    client_id: str,
    codes: Codes,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Response:
    """Wait until the person has confirmed the code, and return the token endpoint's response.

    Raises IdentityError: denied, expired, refused; Unreachable: the issuer could not be reached to the end.
    """
    form = {"grant_type": _GRANT_TYPE, "device_code": codes.device_code, "client_id": client_id}
    interval, ends, last = codes.interval, now() + codes.expires_in, None
    while now() + interval <= ends:
        sleep(interval)
        try:
            return issuer.post(endpoints.token, form)
        except Unreachable as error:
            interval, last = min(2 * interval, _INTERVALS[1]), error  # RFC 8628 section 3.5
        except IssuerRefused as refused:
            last = None
            if refused.error == "slow_down":
                interval += _SLOWER
            elif refused.is_temporary:
                interval = min(2 * interval, _INTERVALS[1])
            elif refused.error != "authorization_pending":
                raise _explained(refused) from None
    raise last or IdentityError(_REASONS["expired_token"])


def _codes(response: Response, endpoints: Endpoints) -> Codes:
    members = read_json_object(response.body)
    names = ("device_code", "verification_uri", "verification_uri_complete")
    given = [members.get(name) for name in names]
    device_code, uri, complete = [one if isinstance(one, str) and _TEXT.fullmatch(one) else "" for one in given]
    user_code = members.get("user_code")
    if not (device_code and uri and isinstance(user_code, str) and shown(user_code)):
        raise IdentityError(f"{endpoints.issuer} answered with no code to confirm")
    for url in (uri, complete):
        if url:
            # SECURITY: a person is sent nowhere but to https (test_a_page_in_the_clear_is_not_shown).
            check_endpoint(url, endpoints.issuer, "issuer's verification_uri")
    lives = _seconds(members.get("expires_in"), _LIFETIME, (0.0, _LONGEST))
    interval = _seconds(members.get("interval"), _INTERVAL, _INTERVALS)
    return Codes(device_code, shown(user_code), uri, complete, lives, interval)


def _seconds(value: object, default: float, bounds: tuple[float, float]) -> float:
    given = value if isinstance(value, int | float) else default
    return float(min(max(bounds[0], given), bounds[1]))  # in this order NaN is the least


def _explained(refused: IssuerRefused) -> IdentityError:
    if refused.error in _OF_CLIENT:
        hint = "the client ID must be of a public client (without a secret) that may use the device flow"
        return IdentityError(f"{refused}\n{hint}")
    return IdentityError(_REASONS.get(refused.error) or str(refused))
