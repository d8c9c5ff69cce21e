"""Which audience an identity token must have: the broker knows, since its policy lists each issuer's audience."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from keybroker import http_client
from keybroker.broker_url import check_broker_url
from keybroker.client import read_refusal, unusable_response
from keybroker.errors import NotConfigured
from keybroker.json_object import read_json_object

_BROKER_AUDIENCE = re.compile(r"keybroker([.-][a-z0-9]+)*")
"""Audiences that can only be a broker's: `keybroker`, `keybroker.octo-org`."""


def discover_audience(url: str, issuer: str, *, timeout: float = 10.0) -> str:
    """Ask a broker which audience an issuer's tokens must have. One request, no retry.

    url: the broker's. issuer: its URL, the `iss` of its tokens; for an issuer that the broker does not know, it answers
    with the usual audience. timeout: seconds to connect, and again until the response is complete.
    Raises Refused, Unreachable; NotConfigured: the URL is not usable, or the audience is not a broker's.
    """
    endpoint = f"{url.rstrip('/')}/audience"
    check_broker_url(endpoint)
    response = http_client.get(f"{endpoint}?{urlencode({'issuer': issuer})}", {"accept": "application/json"}, timeout)
    if response.status != 200:
        raise read_refusal(response)
    audience = read_json_object(response.body).get("audience")
    if not audience or not isinstance(audience, str):
        raise unusable_response(response)
    # SECURITY: a broker that was taken over could have identity tokens issued for another service, and use them there
    # (test_another_services_audience_is_refused).
    if not (_BROKER_AUDIENCE.fullmatch(audience) or audience == url.rstrip("/")):
        raise NotConfigured(
            f"the broker asks for identity tokens with audience {audience[:200]!r}, which could belong to another "
            "service; set that audience yourself if it is right"
        )
    return audience
