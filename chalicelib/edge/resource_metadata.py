"""What the edge says of itself to those who look for where its tokens come from (RFC 9728)."""

from __future__ import annotations

PATH = "/.well-known/oauth-protected-resource"


def url(edge_url: str) -> str:
    """Return where it is."""
    return edge_url + PATH


def document(edge_url: str, broker_url: str) -> dict[str, object]:
    """Return it: the edge as the resource, the broker as what issues tokens for it."""
    return {
        "resource": edge_url,
        "authorization_servers": [broker_url],
        "bearer_methods_supported": ["header"],
        "resource_name": "Keybroker",
    }
