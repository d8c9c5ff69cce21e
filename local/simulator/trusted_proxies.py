"""Proxies in front of a door, whose X-Forwarded-For, -Proto and -Host are believed: theirs alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp import web

_Network = IPv4Network | IPv6Network
_PORT_DIGITS = 5


class TrustedProxies:
    """Those at certain addresses; by default none, and a request is from whom its connection is."""

    def __init__(self, networks: Sequence[_Network] = (), hops: int | None = None) -> None:
        """hops: how many stand one behind another at most, where callers have addresses like theirs; None: any number."""
        self._networks, self._hops = tuple(networks), hops

    def seen(self, request: web.BaseRequest) -> web.BaseRequest:
        """Return a request whose `remote` is who sent it, as far as proxies that are trusted say. Call it before any other."""
        peer = request.remote or ""
        if not self._networks:
            return request.clone(remote=peer.removeprefix("::ffff:")) if peer.startswith("::ffff:") else request
        if not self._trusts(peer):
            return request.clone(remote=str(_address(peer) or peer))
        # SECURITY: from the right, for what stands further left the caller may have written itself
        # (test_a_caller_cannot_name_its_own_address).
        found = str(_address(peer))
        # Each proxy has added one, and no more of them are theirs (test_a_caller_beside_the_proxies_names_no_address).
        for text in _list(request, "X-Forwarded-For")[::-1][: self._hops]:
            address = _address(text)
            if address is None:
                break
            found = str(address)
            if not self._trusts(found):
                break
        return request.clone(remote=found)

    def host(self, request: web.BaseRequest) -> str | None:
        """Return the `Host` that was sent to a proxy that is trusted and says so; None: that of the request. Before `seen`."""
        if not self._trusts(request.remote or ""):
            return None
        found = _list(request, "X-Forwarded-Host")
        return found[0] if len(found) == 1 else None

    def says_plain_http(self, request: web.BaseRequest) -> bool:
        """Whether a request crossed a network without TLS: a trusted proxy says so, or it came past them. Before `seen`."""
        peer = request.remote or ""  # of a UNIX socket there is none
        if not self._networks or not peer:
            return False
        if self._trusts(peer):
            # Traefik says wss of a WebSocket.
            return any(one.lower() not in {"https", "wss"} for one in _list(request, "X-Forwarded-Proto"))
        # SECURITY: a door without TLS is there for its proxies alone (test_plain_http_past_the_proxies_is_refused).
        address = _address(peer)
        return not (request.secure or (address is not None and address.is_loopback))

    def _trusts(self, peer: str) -> bool:
        address = _address(peer) if self._networks else None
        return address is not None and any(address in network for network in self._networks)


NOBODY = TrustedProxies()
"""A door without proxies."""


def _list(request: web.BaseRequest, name: str) -> list[str]:
    """Return the members of a header, which may have been sent several times."""
    values = request.headers.getall(name, [])
    return [one.strip() for value in values for one in value.split(",")] if values else []


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with or without a port; None for anything else. One of IPv4 within IPv6 is one of IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        text = host if port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS else text
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
