"""How a server of the CGI kind (WSGI, Rack, PHP) reads the headers of a call: names folded, repetitions joined."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def variables(headers: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, str]:
    """Return `HTTP_NAME` -> its values, joined with commas, as Apache 2.2 and lighttpd make them, which fold the most."""
    found: dict[str, list[str]] = {}
    for name, values in headers.items():
        folded = "HTTP_" + re.sub("[^A-Z0-9]", "_", name.upper())
        found.setdefault(folded, []).extend(one["value"] for one in values)
    return {name: ",".join(values) for name, values in found.items()}
