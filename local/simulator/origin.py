"""The origin that the edge function set in `request.origin`, checked as CloudFront checks it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

MAX_READ_TIMEOUT: Final = 120  # seconds; the most that CloudFront's quota L-AECE9FA7 allows without a request for more
_MAX_KEEPALIVE: Final = 60  # seconds
_SSL_PROTOCOLS: Final = frozenset({"SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"})
_DOMAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
# What a resolver may read as an IP address even with fewer dots: 127.1, 2130706433, 0x7f.0.0.1
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PATH: Final = re.compile(r"(/[!-\"$->@-~]{0,254})?")
_KINDS: Final = {
    "protocol": str,
    "domainName": str,
    "path": str,
    "port": int,
    "readTimeout": int,
    "keepaliveTimeout": int,
}
_MEMBERS: Final = tuple(_KINDS)


class InvalidOriginError(ValueError):
    """CloudFront would reject this origin. The text names the member, never a value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to send a request.

    address: `protocol://domainName:port`
    path: what stands before every path, "" for nothing
    hosts: the allowed values of the `Host` header, in lower case
    read_timeout: seconds
    """

    address: str
    path: str
    hosts: frozenset[str]
    read_timeout: float


def parse_origin(chosen: object, longest: int = MAX_READ_TIMEOUT) -> Origin:
    """Return the origin in a result's `origin` member; raises InvalidOriginError. Ignores `customHeaders`.

    longest: seconds; the most that its read time-out may be.
    """
    custom = chosen.get("custom") if isinstance(chosen, Mapping) else None
    if not isinstance(custom, Mapping) or (isinstance(chosen, Mapping) and "s3" in chosen):
        raise InvalidOriginError("origin.custom")
    protocols = custom.get("sslProtocols")
    if type(protocols) is not list or not protocols:
        raise InvalidOriginError("origin.custom.sslProtocols")
    members = (longest, *map(custom.get, _MEMBERS), *protocols)
    try:
        return _cached_origin(*members)
    except TypeError:
        return _origin(*members)  # one member is a list or an object; this names it


def _origin(longest: int, *members: Any) -> Origin:  # noqa: ANN401  their types are checked here
    values = dict(zip(_MEMBERS, members, strict=False))
    for member, kind in _KINDS.items():
        if type(values[member]) is not kind:
            raise InvalidOriginError(f"origin.custom.{member}")
    if not all(type(one) is str and one in _SSL_PROTOCOLS for one in members[len(_MEMBERS) :]):
        raise InvalidOriginError("origin.custom.sslProtocols")
    for member, most in (("readTimeout", longest), ("keepaliveTimeout", _MAX_KEEPALIVE)):
        if not 1 <= values[member] <= most:
            raise InvalidOriginError(f"origin.custom.{member}")
    address, hosts = _address(*members[:4])
    return Origin(address, values["path"], hosts, float(values["readTimeout"]))


_cached_origin = lru_cache(maxsize=256, typed=True)(_origin)  # each key has one origin; typed, since True == 1 == 1.0


def _address(protocol: str, domain: str, path: str, port: int) -> tuple[str, frozenset[str]]:
    if protocol not in {"http", "https"}:
        raise InvalidOriginError("origin.custom.protocol")
    # SECURITY: an IP address would bypass the rules for the names that a key's origin may have
    # (test_an_address_is_no_origin).
    if not _DOMAIN.fullmatch(domain) or _NUMBER.fullmatch(domain.rstrip(".").rpartition(".")[2]):
        raise InvalidOriginError("origin.custom.domainName")
    if port not in {80, 443} and not 1024 <= port <= 65_535:
        raise InvalidOriginError("origin.custom.port")
    if not _PATH.fullmatch(path) or path.endswith("/"):
        raise InvalidOriginError("origin.custom.path")
    name = domain.lower()
    return f"{protocol}://{domain}:{port}", frozenset({name, f"{name}:{port}"})
