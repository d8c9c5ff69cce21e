"""What of botocore's data a function needs: of 25 MB, the models of two or three services."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable

from infra.edge.imported import SERVICES

_DATA = "botocore/data/"
ENDPOINTS = _DATA + "endpoints.json"
_OF_ALL = {"endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
_OF_SERVICE = re.compile(r"(service-2|service-2\.sdk-extras|endpoint-rule-set-1)\.json(\.gz)?")
"""Left out: paginators, waiters and examples, which no client needs to be made."""


def keep(names: Iterable[str], services: Collection[str] = SERVICES) -> set[str]:
    """Return those of botocore's files that stay: all that is no data, and the newest models of these services."""
    every = set(names)
    newest = {
        f"{_DATA}{service}/" + max(name.split("/")[3] for name in every if name.startswith(f"{_DATA}{service}/"))
        for service in services
    }
    return {name for name in every if not name.startswith(_DATA) or _stays(name, newest)}


def shorten(endpoints: bytes, services: Collection[str] = SERVICES) -> bytes:
    """Return endpoints.json with these services alone: it is 1.2 MB, which every cold start would read."""
    found = json.loads(endpoints)
    for partition in found["partitions"]:
        partition["services"] = {name: one for name, one in partition["services"].items() if name in services}
    return json.dumps(found).encode()


def _stays(name: str, newest: set[str]) -> bool:
    folder, _, file = name.rpartition("/")
    return (folder + "/" == _DATA and file in _OF_ALL) or (folder in newest and bool(_OF_SERVICE.fullmatch(file)))
