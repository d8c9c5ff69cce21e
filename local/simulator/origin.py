"""The origin that an edge function chose, checked as CloudFront checks `request.origin`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

MAX_READ_TIMEOUT: Final = 120  # seconds; what CloudFront's quota L-AECE9FA7 is at most without a request
_MAX_KEEPALIVE: Final = 60  # seconds
_SSL_PROTOCOLS: Final = frozenset({"SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"})
_DOMAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
# What a resolver may take for an address although no dot, or only some, are in it: 127.1, 2130706433, 0x7f.0.0.1
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


class UnusableOriginError(ValueError):
    """CloudFront would not go there; the text names the member, never a value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to send a request: `address` is `protocol://domainName:port` and the path, `read_timeout` is in seconds.

    `hosts` is what the `Host` header may say, in lower case.
    """

    address: str
    hosts: frozenset[str]
    read_timeout: float


def read(chosen: object) -> Origin:
    """Return the origin of a result's `origin` member; raises UnusableOriginError. Does not look at `customHeaders`."""
    custom = chosen.get("custom") if isinstance(chosen, Mapping) else None
    if not isinstance(custom, Mapping) or (isinstance(chosen, Mapping) and "s3" in chosen):
        raise UnusableOriginError("origin.custom")
    protocols = custom.get("sslProtocols")
    if type(protocols) is not list or not protocols:
        raise UnusableOriginError("origin.custom.sslProtocols")
    members = (*map(custom.get, _MEMBERS), *protocols)
    try:
        return _remembered(*members)
    except TypeError:
        return _origin(*members)  # one is a list or an object; that says which


def _origin(*members: Any) -> Origin:  # noqa: ANN401  that is what is checked
    values = dict(zip(_MEMBERS, members, strict=False))
    for member, kind in _KINDS.items():
        if type(values[member]) is not kind:
            raise UnusableOriginError(f"origin.custom.{member}")
    if not all(type(one) is str and one in _SSL_PROTOCOLS for one in members[len(_MEMBERS) :]):
        raise UnusableOriginError("origin.custom.sslProtocols")
    for member, most in (("readTimeout", MAX_READ_TIMEOUT), ("keepaliveTimeout", _MAX_KEEPALIVE)):
        if not 1 <= values[member] <= most:
            raise UnusableOriginError(f"origin.custom.{member}")
    address, hosts = _address(*members[:4])
    return Origin(address, hosts, float(values["readTimeout"]))


_remembered = lru_cache(maxsize=256, typed=True)(_origin)  # a key has one origin; typed, for True == 1 == 1.0


def _address(protocol: str, domain: str, path: str, port: int) -> tuple[str, frozenset[str]]:
    if protocol not in {"http", "https"}:
        raise UnusableOriginError("origin.custom.protocol")
    # SECURITY: an address would be a way round names, and so round what a key's origin may be
    # (test_an_address_is_no_origin).
    if not _DOMAIN.fullmatch(domain) or _NUMBER.fullmatch(domain.rstrip(".").rpartition(".")[2]):
        raise UnusableOriginError("origin.custom.domainName")
    if port not in {80, 443} and not 1024 <= port <= 65_535:
        raise UnusableOriginError("origin.custom.port")
    if not _PATH.fullmatch(path) or path.endswith("/"):
        raise UnusableOriginError("origin.custom.path")
    name = domain.lower()
    return f"{protocol}://{domain}:{port}{path}", frozenset({name, f"{name}:{port}"})
