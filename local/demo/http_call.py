"""One HTTP call on this machine, read whole: what the demo does without an SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 10.0
_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever was answered
        """The body as JSON; raises ValueError."""
        return json.loads(self.body)


def call(method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Make one call; raises OSError or http.client.HTTPException if there is no answer."""
    where = urlsplit(url)
    connection = HTTPConnection(str(where.hostname), where.port, timeout=_SECONDS)
    try:
        target = f"{where.path or '/'}?{where.query}" if where.query else where.path or "/"
        connection.request(method, target, body or None, dict(headers or {}))
        with connection.getresponse() as response:
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read(_LIMIT))
    finally:
        connection.close()
