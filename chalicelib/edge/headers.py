"""The headers of a call: which of them go on to the provider, each as it was sent."""

from __future__ import annotations

import functools

from chalicelib.edge.errors import MethodOverride

Headers = dict[str, list[dict[str, str]]]
"""CloudFront's form: lower-case name -> every value, each with the name as it was sent."""

TOKEN_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Where a token may arrive. All of them are removed from every request."""

_OAUTH_FLAG = "oauth-2025-04-20"
"""Anthropic's SDK sets it beside an exchanged token; with a real key it does not belong there."""
_OF_ONE_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "upgrade"})
"""Headers of one hop (RFC 9110 section 7.6.1). Transfer-Encoding is left to CloudFront."""
_PROXY_CLAIMS = frozenset(
    {"forwarded", "x-real-ip", "true-client-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip"}
    | {"x-remote-addr", "cf-connecting-ip", "fastly-client-ip", "x-original-forwarded-for", "x-envoy-external-address"}
    | {"x-azure-clientip", "x-azure-socketip", "x-host", "x-original-host", "x-original-url", "x-rewrite-url"}
)
_PROXY_PREFIXES = ("x-forwarded-", "cloudfront-", "x-amzn-", "proxy-")
_METHOD_OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")
_READ_ONLY = frozenset(
    {"accept-encoding", "cdn-loop", "content-length", "transfer-encoding", "via"}
    | {"if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
"""CloudFront answers 502 if a function removes one of these."""


def check(headers: Headers, method: str) -> None:
    """Raise MethodOverride if a header names another method than the request's."""
    # SECURITY: a scope is for a method; a call that the provider would take for another method is not sent
    # (test_method_override).
    said = (header["value"].strip().upper() for name in _METHOD_OVERRIDES for header in headers.get(name, ()))
    if any(one != method for one in said):
        raise MethodOverride("a header")


def forwarded(headers: Headers) -> Headers:
    """Return the headers to send on: none that could carry the token, spoof an address or concern this hop only."""
    named = (name.strip().lower() for header in headers.get("connection", ()) for name in header["value"].split(","))
    of_this_hop = frozenset(named) - _READ_ONLY
    kept: Headers = {}
    for name, values in headers.items():
        if name in of_this_hop or _is_dropped(name):
            continue
        left = _without_oauth_flag(values) if name == "anthropic-beta" else values
        if left:
            kept[name] = left
    return kept


@functools.lru_cache(maxsize=1024)
def _is_dropped(name: str) -> bool:
    taken = name in TOKEN_HEADERS or name in _METHOD_OVERRIDES
    return taken or name in _OF_ONE_HOP or name in _PROXY_CLAIMS or name.startswith(_PROXY_PREFIXES)


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
