"""Selects the part of botocore's data that a function needs: of 25 MB, the models of two or three services."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable

_DATA = "botocore/data/"
ENDPOINTS = _DATA + "endpoints.json"
_SHARED_FILES = {"endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
_SERVICE_FILES = re.compile(r"(service-2|service-2\.sdk-extras|endpoint-rule-set-1)\.json(\.gz)?")
"""Paginators, waiters and examples are left out: creating a client does not need them."""


def select(names: Iterable[str], services: Collection[str]) -> set[str]:
    """Return the files to keep: everything that is not data, and the newest models of these services."""
    every = set(names)
    newest = {
        f"{_DATA}{service}/" + max(name.split("/")[3] for name in every if name.startswith(f"{_DATA}{service}/"))
        for service in services
    }
    return {name for name in every if not name.startswith(_DATA) or _is_needed(name, newest)}


def trim_endpoints(endpoints: bytes, services: Collection[str]) -> bytes:
    """Return endpoints.json with only these services: it has 1.2 MB, which every cold start would read."""
    found = json.loads(endpoints)
    for partition in found["partitions"]:
        partition["services"] = {name: one for name, one in partition["services"].items() if name in services}
    return json.dumps(found).encode()


def _is_needed(name: str, newest: set[str]) -> bool:
    folder, _, file = name.rpartition("/")
    return (folder + "/" == _DATA and file in _SHARED_FILES) or (
        folder in newest and bool(_SERVICE_FILES.fullmatch(file))
    )
