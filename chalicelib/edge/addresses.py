"""Whether a caller's IP address is among those that a grant admits."""

from __future__ import annotations

import ipaddress


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of the networks; an IPv4 address mapped into IPv6 is the IPv4 address.

    An address with a zone (`%eth0`) is in none: it has a meaning on one machine's link only.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        found = found.ipv4_mapped or found
    return any(found in ipaddress.ip_network(network) for network in networks)
