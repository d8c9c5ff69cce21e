"""The edge's protected resource metadata, which names the broker as what issues its tokens (RFC 9728)."""

from __future__ import annotations

PATH = "/.well-known/oauth-protected-resource"


def url(edge_url: str) -> str:
    """Return the URL of the metadata."""
    return edge_url + PATH


def document(edge_url: str, broker_url: str) -> dict[str, object]:
    """Return the metadata: the edge as the resource, the broker as its authorization server."""
    return {
        "resource": edge_url,
        "authorization_servers": [broker_url],
        "bearer_methods_supported": ["header"],
        "resource_name": "Keybroker",
    }
