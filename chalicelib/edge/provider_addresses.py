"""A provider's own addresses in an answer become the edge's, so that paging and redirects stay on it.

At CloudFront the function in infra/edge.yaml does the same, since a Lambda at origin-request sees no answer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

NAMES = frozenset({"link", "location", "content-location"})
"""The headers whose addresses a client follows (RFC 8288; RFC 9110, sections 10.2.2 and 8.7), in lower case."""

_PORTS = {"https": 443, "http": 80}
_LINKS = re.compile(r'"(?:[^"\\]|\\.)*"|<([^<>]*)>')
"""What is in quotes is a parameter of a link, whatever it holds (RFC 8288, section 3)."""


def on_the_edge(headers: Iterable[tuple[str, str]], origin: str, base: str) -> list[tuple[str, str]]:
    """Return an answer's headers with the addresses of its own origin at the edge instead; others are unchanged.

    origin: the key's, e.g. `https://api.github.com`. base: where its paths begin at the edge, `https://edge.example/github`.
    A path alone (`/v1/files`) is one of the origin's, too.
    """
    return [
        (name, _mapped(name.lower(), value, origin, base) if name.lower() in NAMES else value)
        for name, value in headers
    ]


def _mapped(name: str, value: str, origin: str, base: str) -> str:
    if name != "link":
        return _address(value, origin, base)

    def link(found: re.Match[str]) -> str:
        return found[0] if found[1] is None else f"<{_address(found[1], origin, base)}>"

    return _LINKS.sub(link, value)


def _address(reference: str, origin: str, base: str) -> str:
    # SECURITY: only the origin itself: its name may begin another's, as in `api.github.com.example`
    # (test_provider_addresses_vectors). Whatever is mapped, the token that the client adds goes to the edge alone.
    found = _own(origin).match(reference)
    if found is None:
        return reference
    rest = reference[found.end() :]
    return base + (rest if rest.startswith("/") else f"/{rest}")


@functools.lru_cache(maxsize=256)
def _own(origin: str) -> re.Pattern[str]:
    """Return what a reference to this origin begins with: the origin in any spelling, or nothing before a path."""
    scheme, host, port = (parts := urlsplit(origin)).scheme, parts.hostname or "", parts.port
    default = _PORTS.get(scheme)
    number = f"(?::{default})?" if port in (None, default) else f":{port}"
    here = rf"(?:{scheme}:)?//{re.escape(host)}{number}(?=[/?#]|\Z)"
    return re.compile(rf"{here}|(?=/(?![/\\]))", re.IGNORECASE)
