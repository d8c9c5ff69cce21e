"""What an installation on AWS runs with. Nothing is wired to the AWS adapters yet: every call is refused."""

from __future__ import annotations

from typing import NoReturn

from chalicelib.errors import Unavailable


def ports_on_aws() -> NoReturn:
    """Make the broker's ports; raises Unavailable, since this version has state for one machine only."""
    raise Unavailable("not_configured")


def edge_ports_on_aws() -> NoReturn:
    """Make the edge's ports; raises Unavailable, since this version has state for one machine only."""
    raise Unavailable("not_configured")
