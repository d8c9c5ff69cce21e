"""Which addresses an identity token may be sent to."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from keybroker.errors import NotConfigured

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def checked_url(url: str, named: str) -> SplitResult:
    """Return the parts of a URL that a secret is sent to. named: what the error calls it. Raises NotConfigured."""
    try:
        where = urlsplit(url)
        _ = where.port
    except ValueError as fault:
        raise NotConfigured(f"{named} is none: {fault}") from None
    # SECURITY: an identity token crosses no network in the clear (test_plain_http_is_only_for_this_machine).
    if where.scheme != "https" and not (where.scheme == "http" and where.hostname in _LOOPBACK):
        raise NotConfigured(f"{named} must start with https:// (http:// on this machine only)")
    if not where.hostname or where.username is not None:
        raise NotConfigured(f"{named} must be a host and a path, without user, query or fragment")
    return where


def checked_broker(url: str) -> SplitResult:
    """Return the parts of a broker's URL; raises NotConfigured."""
    where = checked_url(url, "the broker's URL")
    if where.query or where.fragment:
        raise NotConfigured("the broker's URL must be a host and a path, without user, query or fragment")
    return where
