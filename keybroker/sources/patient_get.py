"""A GET to what hands out identity tokens, which a runner or a metadata server now and then fails to answer at first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from keybroker.bounded_http import Answer
from keybroker.errors import Unreachable
from keybroker.sources.wanted import PATIENCE

PAUSE = (0.2, 0.8)
"""Seconds between the two requests, at least and at most."""

Get = Callable[[str, Mapping[str, str], float], Answer]


def patient_get(get: Get, url: str, headers: Mapping[str, str]) -> Answer:
    """Send a GET, and once more after a network fault or a 5xx; raises Unreachable. get: one of bounded_http's."""
    try:
        answer = get(url, headers, PATIENCE)
    except Unreachable:
        answer = None
    if answer is not None and answer.status < 500:
        return answer
    time.sleep(random.uniform(*PAUSE))  # noqa: S311  no secret
    return get(url, headers, PATIENCE)
