"""For whom an identity token has to be made out: the broker knows, since its policy lists each issuer's audience."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

from keybroker import bounded_http
from keybroker.broker_answer import refusal
from keybroker.broker_url import checked_broker
from keybroker.errors import NotConfigured, Unreachable

_OURS = re.compile(r"keybroker([.-][a-z0-9]+)*")
"""What can be believed to be a broker's audience whoever says so: `keybroker`, `keybroker.octo-org`."""


def discover(url: str, issuer: str, *, timeout: float = 10.0) -> str:
    """Ask a broker for which audience an issuer's tokens have to be. One request, no retry.

    url: the broker's. issuer: its URL, the `iss` of its tokens; for one that the broker does not know, the usual audience
    is answered. timeout: seconds to connect, and again until the answer is there.
    Raises Refused, Unreachable; NotConfigured: the URL is not usable, or the audience is no broker's.
    """
    where = f"{url.rstrip('/')}/audience"
    checked_broker(where)
    answer = bounded_http.get(f"{where}?{urlencode({'issuer': issuer})}", {"accept": "application/json"}, timeout)
    if answer.status != 200:
        raise refusal(answer)
    try:
        audience = json.loads(answer.body)["audience"]
    except (ValueError, RecursionError, KeyError, TypeError):
        audience = None
    if not audience or not isinstance(audience, str):
        raise Unreachable("the answer is not one of a broker's (HTTP 200)")
    # SECURITY: a broker that was taken over could have identities made out for another service, and use them there
    # (test_an_audience_that_is_another_services_is_not_taken_from_the_broker).
    if not (_OURS.fullmatch(audience) or audience == url.rstrip("/")):
        raise NotConfigured(
            f"the broker says that identities have to be for {audience[:200]!r}, which could be another service; "
            "set that audience yourself if it is right"
        )
    return audience
