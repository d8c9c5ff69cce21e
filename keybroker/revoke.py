"""Takes a token back before it expires (RFC 7009), as a job does in its last step."""

from __future__ import annotations

from urllib.parse import urlencode

from keybroker import bounded_http
from keybroker.broker_answer import refusal


def revoke_token(url: str, access_token: str, *, timeout: float = 10.0) -> None:
    """Take back a token that this program holds: once this returns, no call with it is let in. One request, no retry.

    url: the broker's. timeout: seconds to connect, and again until the answer is there. A token that has expired, or
    is none of the broker's, is as good as taken back. Taking back twice changes nothing, so a repetition is safe.

    Raises Refused or Unreachable: it may still work. NotConfigured: the URL is not usable.
    """
    body = urlencode({"token": access_token}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    answer = bounded_http.post(f"{url.rstrip('/')}/revoke", body, headers, timeout)
    if answer.status != 200:
        raise refusal(answer)
