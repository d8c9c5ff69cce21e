"""The headers of a call: which of them go on to the provider, each as it was sent."""

from __future__ import annotations

import functools

from chalicelib.edge.errors import HeaderName, MethodOverride, NoWebSocket
from chalicelib.providers import header_names, paths
from chalicelib.providers.header_names import canonical

Headers = dict[str, list[dict[str, str]]]
"""CloudFront's form: lower-case name -> every value, each with the name as it was sent."""

_OAUTH_FLAG = "oauth-2025-04-20"
"""Anthropic's SDK sets it beside an exchanged token; with a real key it does not belong there."""
_OF_A_HANDSHAKE = frozenset({"sec-websocket-key", "sec-websocket-version"})
"""Headers without which no server opens a WebSocket (RFC 6455, section 4.2.1). `Upgrade` may ask for something else."""


def check(headers: Headers, method: str) -> None:
    """Raise HeaderName if a name is none, MethodOverride if a header names another method than the request's.

    Raises NoWebSocket where CloudFront, or any other door that does not say so by the method, would open one.
    Raises KeyError, TypeError or AttributeError for what is not in CloudFront's form.
    """
    # SECURITY: a scope that reads would open a conversation (test_a_handshake_by_get_is_refused).
    if method != paths.WEB_SOCKET and not headers.keys().isdisjoint(_OF_A_HANDSHAKE):
        raise NoWebSocket
    for name, values in headers.items():
        if not header_names.is_name(name):
            raise HeaderName
        for one in values:
            if not header_names.is_name(one.get("key", name)):
                raise HeaderName
            # SECURITY: what cannot be sent on is found before it is counted (test_a_malformed_header_counts_nothing).
            if not isinstance(one["value"], str):
                raise TypeError
        # SECURITY: a scope is for a method; a call that the provider would take for another method is not sent
        # (test_method_override).
        if header_names.overrides_method(name) and any(one["value"].strip().upper() != method for one in values):
            raise MethodOverride("a header")


def forwarded(headers: Headers, key_header: str, token: str) -> Headers:
    """Return the headers to send on: none that carry the token or could, spoof an address or concern this hop only.

    key_header: the one that the provider's key goes into; no other may be taken for it.
    """
    named = {canonical(name.strip()) for header in headers.get("connection", ()) for name in header["value"].split(",")}
    kept: Headers = {}
    for name in _sent_on(tuple(headers), canonical(key_header)):
        if canonical(name) in named and name not in header_names.READ_ONLY:
            continue
        values = headers[name]
        left = _without_oauth_flag(values) if canonical(name) == "anthropic-beta" else values
        if name not in header_names.READ_ONLY:
            # SECURITY: a cookie or a referrer may hold the token as well (test_token_in_another_header).
            left = [one for one in left if token not in one["value"]]
        if left:
            kept[name] = left
    return kept


@functools.lru_cache(maxsize=64)
def _sent_on(names: tuple[str, ...], key_header: str) -> tuple[str, ...]:
    """Return the names that may go on beside a key's header; a client sends the same names with every call."""
    # SECURITY: a server that joins what it takes for one header would join our key with what a caller sent, and may
    # quote both (test_one_header_in_every_spelling).
    return tuple(
        name
        for name in names
        if not header_names.is_dropped(name) and (canonical(name) != key_header or name in header_names.READ_ONLY)
    )


def _without_oauth_flag(values: list[dict[str, str]]) -> list[dict[str, str]]:
    """Remove one flag from `anthropic-beta`, and leave the rest as it was sent."""
    kept = []
    for header in values:
        flags = header["value"].split(",")
        left = [flag for flag in flags if flag.strip() != _OAUTH_FLAG]
        if len(left) == len(flags):
            kept.append(header)
        elif any(flag.strip() for flag in left):
            kept.append({**header, "value": ",".join(left).strip()})
    return kept
