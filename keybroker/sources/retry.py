"""A GET to what issues identity tokens: a CI runner or a metadata server that fails or limits requests for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from keybroker.duration import words
from keybroker.errors import Unreachable
from keybroker.http_client import Response
from keybroker.retry_after import retry_after
from keybroker.sources.identity_request import TIMEOUT
from keybroker.tries import Tries

DEADLINE = 2 * TIMEOUT
"""Seconds in which all requests for one identity token begin."""
_REQUEST_TIMEOUT, _TOO_MANY = 408, 429

Get = Callable[[str, Mapping[str, str], float], Response]


def get_with_retry(get: Get, url: str, headers: Mapping[str, str], tries: Tries | None = None) -> Response:
    """Send a GET, and again after a network error, 408, 429 or 5xx, until it is answered otherwise or tries end.

    get: one of http_client's. tries: by default until DEADLINE. Returns the last response, whatever its status; raises
    Unreachable if the last request had none.
    """
    tries = tries or Tries(DEADLINE)
    while True:
        try:
            response = get(url, headers, tries.left(TIMEOUT))
        except Unreachable:
            if not tries.wait(answered=False):
                raise
            continue
        wait = retry_after(response.headers.get("retry-after"), time.time())
        if not is_passing(response.status) or not tries.wait(wait):
            return response


def is_passing(status: int) -> bool:
    """Return whether a status is about this moment and not about the request."""
    return status in (_REQUEST_TIMEOUT, _TOO_MANY) or status >= 500


def why(response: Response) -> str:
    """Return what a status that is no 200 means, and what to do where that is the same for all that issue tokens."""
    told = f"HTTP {response.status}"
    if response.status == _TOO_MANY:
        wait = retry_after(response.headers.get("retry-after"), time.time())
        return f"{told}: too many requests; try again {'later' if wait is None else f'in {words(wait)}'}"
    return f"{told}: it is failing; try again later" if is_passing(response.status) else told
