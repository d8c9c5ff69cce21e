"""Whether providers can know our own issuer, and what the policy's rules are where the broker's URL is known."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from urllib.parse import urlsplit

from chalicelib.federation import assertion
from chalicelib.policy.compile_issuer import InstallationRules

_NOT_PUBLIC = (".localhost", ".local", ".internal")


def is_public(broker: str) -> bool:
    """Whether what the broker publishes can be read over the internet with TLS, as far as its URL tells."""
    parts = urlsplit(broker)
    host = parts.hostname or ""
    try:
        is_reached = ipaddress.ip_address(host).is_global
    except ValueError:
        is_reached = "." in host and not host.endswith(_NOT_PUBLIC)
    return parts.scheme == "https" and is_reached


def rules_of(rules: InstallationRules, broker: str) -> InstallationRules:
    """Return the policy's rules of an installation whose broker has this URL; "": it is not known, and they stay."""
    if not broker:
        return rules
    known = assertion.own(broker), assertion.subject_of(broker, ""), is_public(broker)
    return replace(rules, own_urls=known[0], subjects=known[1], issuer_is_public=known[2])
