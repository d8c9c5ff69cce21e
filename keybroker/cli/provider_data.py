"""What the command line knows of each provider: providers.json, which `make providers` writes from the broker's own table."""

from __future__ import annotations

import functools
import json
import pkgutil
from typing import Any


@functools.cache
def load() -> dict[str, Any]:
    """Return the file: `key_patterns`, provider -> `pattern` and `variables`; `sdks`, name -> the fields of `Variables`."""
    found: dict[str, Any] = json.loads(pkgutil.get_data("keybroker.cli", "providers.json") or b"")
    return found
