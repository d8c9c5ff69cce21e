"""A GET to what issues identity tokens: a CI runner or a metadata server that sometimes fails at first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from keybroker.errors import Unreachable
from keybroker.http_client import RETRY_PAUSE, Response
from keybroker.sources.identity_request import TIMEOUT

Get = Callable[[str, Mapping[str, str], float], Response]


def get_with_retry(get: Get, url: str, headers: Mapping[str, str]) -> Response:
    """Send a GET, and once more after a network error or a 5xx; raises Unreachable. get: one of http_client's."""
    try:
        response = get(url, headers, TIMEOUT)
    except Unreachable:
        response = None
    if response is not None and response.status < 500:
        return response
    time.sleep(random.uniform(*RETRY_PAUSE))  # noqa: S311  no secret
    return get(url, headers, TIMEOUT)
