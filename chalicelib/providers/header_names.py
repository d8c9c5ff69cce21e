"""The names of headers: the one form in which all of them are compared, and those that have a meaning of their own here."""

from __future__ import annotations

import functools
import re

TOKEN_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Where a token may arrive. All of them are removed from every request."""
READ_ONLY = frozenset(
    {"accept-encoding", "cdn-loop", "content-length", "transfer-encoding", "via"}
    | {"if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
"""CloudFront answers 502 if a function removes one of these."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_FOLDED = str.maketrans(dict.fromkeys("!#$%&'*+.^_`|~", "-"))
_METHOD_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_OF_ONE_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "upgrade"})
"""Headers of one hop (RFC 9110 section 7.6.1). Transfer-Encoding is left to CloudFront."""
_PROXY_CLAIMS = frozenset(
    {"forwarded", "x-real-ip", "true-client-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip"}
    | {"x-remote-addr", "cf-connecting-ip", "fastly-client-ip", "x-original-forwarded-for", "x-envoy-external-address"}
    | {"x-azure-clientip", "x-azure-socketip", "x-host", "x-original-host", "x-original-url", "x-rewrite-url"}
    | {"proxy"}  # a CGI program takes HTTP_PROXY for its own proxy's address
)
_PROXY_PREFIXES = ("x-forwarded-", "cloudfront-", "x-amzn-", "x-amz-cf-", "x-edge-", "proxy-")
_OF_THE_BODY = READ_ONLY | {"content-type", "content-encoding"}
"""What frames the body, or says how it is read: under their own names only."""


@functools.lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """Return a header's name as all are compared: in lower case, and with `-` for each character but letters and digits."""
    # SECURITY: CGI, WSGI, PHP and Rack make one variable of `X-Api-Key` and `x_api_key`, and join their values; older
    # servers take `.` and the rest for `_`, too (test_one_header_in_every_spelling).
    return name.lower().translate(_FOLDED)


@functools.lru_cache(maxsize=1024)
def is_name(name: str) -> bool:
    """Whether it is a header's name at all: a token of RFC 9110."""
    return _NAME.fullmatch(name) is not None


@functools.lru_cache(maxsize=1024)
def overrides_method(name: str) -> bool:
    """Whether a server may take the value of this header for the request's method."""
    return canonical(name) in _METHOD_OVERRIDES


@functools.lru_cache(maxsize=1024)
def is_dropped(name: str) -> bool:
    """Whether a caller's header never goes on: it could carry the token, spoof an address, or concerns this hop only.

    So does another spelling of a header that frames the body.
    """
    found = canonical(name)
    if found in TOKEN_HEADERS or found in _METHOD_OVERRIDES or found in _OF_ONE_HOP or found in _PROXY_CLAIMS:
        return True
    return found.startswith(_PROXY_PREFIXES) or (found in _OF_THE_BODY and name.lower() != found)
