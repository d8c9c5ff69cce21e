"""Which URLs a secret may be sent to."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from keybroker.errors import NotConfigured

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_url(url: str, name: str) -> SplitResult:
    """Return the parts of a URL that a secret is sent to. name: what errors call it. Raises NotConfigured."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise NotConfigured(f"not a valid {name}: {error}") from None
    # SECURITY: an identity token crosses no network in the clear (test_plain_http_is_only_for_this_machine).
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise NotConfigured(f"the {name} must start with https:// (http:// on this machine only)")
    if not parts.hostname or parts.username is not None:
        raise NotConfigured(f"the {name} must be a host and a path, without user, query or fragment")
    return parts


def check_broker_url(url: str) -> SplitResult:
    """Return the parts of a broker's URL; raises NotConfigured."""
    parts = check_url(url, "broker URL")
    if parts.query or parts.fragment:
        raise NotConfigured("the broker URL must be a host and a path, without user, query or fragment")
    return parts
