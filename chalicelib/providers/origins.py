"""Where a key may be sent: its origin, which is set with its value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chalicelib.providers.entry import Provider

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# SECURITY: one way to write it down, so that no two readers can differ about which host it names: no user, path, query,
# escape or trailing dot. The last label begins with a letter, so it is no address in any notation
# (test_invalid_origin).
_HTTPS = re.compile(
    rf"https://(?P<host>(?:{_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_LOOPBACK = re.compile(r"http://localhost:(?P<port>[1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class Origins:
    """Which origins a key may have."""

    practice: str | None = None
    """The practice provider's, `http://localhost:port`; None wherever keys are real. While it is set, every key goes there
    or elsewhere on this machine, and none to a real provider."""

    def choose(self, asked: str | None, provider: Provider) -> str:
        """Return the origin asked for, or the default; raises ValueError with a text for the administrator."""
        if self.practice is not None:
            # SECURITY: a practice key never leaves this machine (test_practice_never_leaves).
            if asked is not None and not self.allows(asked):
                raise ValueError("origin must be http://localhost:port while the practice parts run; leave it out")
            return asked or self.practice
        if asked is None:
            if provider.origin is None:
                raise ValueError("origin is required, since this provider has no default")
            return provider.origin
        if not self.allows(asked):
            raise ValueError(
                "origin must be https://host or https://host:port (443, or 1024 to 65535): a host name in lower case with a"
                " dot in it, no address, no user, no path, no query, no internationalised name"
            )
        return asked

    def allows(self, origin: str) -> bool:
        """Whether a key may have this origin."""
        return _is_https(origin) if self.practice is None else _is_loopback(origin)


def _is_https(origin: str) -> bool:
    found = _HTTPS.fullmatch(origin)
    if found is None or len(found["host"]) > 253:
        return False
    # SECURITY: a name in punycode looks like another one wherever it is shown decoded; localhost is this machine
    # (test_invalid_origin).
    labels = found["host"].split(".")
    if labels[-1] in ("localhost", "localdomain") or any(label.startswith("xn--") for label in labels):
        return False
    return (
        found["port"] in (None, "443") or 1024 <= int(found["port"]) <= 65535
    )  # the ports that CloudFront connects to


def _is_loopback(origin: str) -> bool:
    found = _LOOPBACK.fullmatch(origin)
    return found is not None and 1024 <= int(found["port"]) <= 65535
