"""What a gateway is told, by its options or by a configuration file with `[tables]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from chalicelib.aws.config import BrokerConfig, EdgeConfig
from chalicelib.aws.role_credentials import RoleCredentials
from local.addresses import Listen
from local.configuration import TlsFiles
from local.stage import Stage

DOORS = ("broker", "edge")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway is told.

    names: of the stage's tables and URLs
    doors: where it listens, by name, one of DOORS or both; port 0: any that is free
    broker: what the broker's door needs; None without it
    trusted_proxies: the addresses whose X-Forwarded headers are believed
    trusted_hops: how many of these stand one behind another; None: any number
    tls: the certificate and the key that it serves; None: plain HTTP
    workers: processes
    provider_timeout: seconds that a provider may be silent; None: as long as it likes
    keep_alive: seconds that a connection to the edge may stay open without a request
    drain_delay: seconds after SIGTERM in which calls are still taken, for load balancers to notice `/readyz`
    drain: seconds after these that running calls have to finish
    log_level: from which on our lines are logged
    metrics: where `/metrics` is answered; None: nowhere
    revocation_probe: seconds from one measurement of how long a revocation takes to the next, by the broker; 0: none
    prices: a file of what models cost; None: the prices that come along
    """

    names: EdgeConfig
    doors: Mapping[str, Listen]
    broker: BrokerConfig | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    trusted_hops: int | None = None
    tls: TlsFiles | None = None
    workers: int = 1
    provider_timeout: int | None = None
    keep_alive: int = 75
    drain_delay: int = 5
    drain: int = 100
    log_level: str = "info"
    metrics: Listen | None = None
    revocation_probe: int = 0
    prices: Path | None = None

    def stage(self, credentials: RoleCredentials) -> Stage:
        """Return the tables, as far as the doors use them."""
        return Stage(self.names, credentials, broker=self.broker, has_edge="edge" in self.doors)
