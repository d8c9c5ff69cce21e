"""`serve --config` with `[tables]`: the doors of a deployed stage that the file names, over the stage's own tables.

Exit codes: 0 stopped by a signal, or checked; 1 an error, in one line each; 2 options that say what the stage says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from chalicelib.aws.config import BrokerConfig, EdgeConfig
from local import check, gateway
from local.configuration import Configuration
from local.configuration_stage import StageTables
from local.gateway_settings import Settings

_OF_A_STATE = ("apply", "set_keys", "practice", "no_practice", "practice_ttl", "public_url", "public_edge_url")
"""Options that mean nothing where the stage's tables are the state."""


def run(told: Configuration, tables: StageTables, options: argparse.Namespace) -> int:
    """Run the command and return its exit code; raises Unavailable or OSError if it cannot start."""
    wrong = [f"--{name.replace('_', '-')}" for name in _OF_A_STATE if getattr(options, name)]
    if wrong:
        options.parser.error(f"{', '.join(wrong)}: not over the tables of a stage, which {options.config} names")
    if options.check:
        return _report(told, tables)

    def announce(urls: Mapping[str, str]) -> None:
        for name, url in urls.items():
            print(f"{name:>14}  {url}", file=sys.stderr)
        print(f"over the tables of {tables.stage} in {tables.region}; /readyz says when they answer", file=sys.stderr)
        if options.json:
            print(json.dumps(dict(urls)), flush=True)

    gateway.serve(settings(told, tables), announce)
    return 0


def settings(told: Configuration, tables: StageTables) -> Settings:
    """Return what a gateway is told by a configuration file."""
    names = EdgeConfig(
        region=tables.region,
        control=f"{tables.stage}-control",
        counters=f"{tables.stage}-counters",
        secrets_region=tables.secrets_region,
        secrets_prefix=tables.stage,
        issuer=tables.issuer,
        edge_url=told.edge.public_url or tables.edge_url,
    )
    listen = {"broker": told.broker.listen, "edge": told.edge.listen}
    return Settings(
        names,
        {name: listen[name] for name in tables.doors},
        broker=_broker(names, tables) if "broker" in tables.doors else None,
        trusted_proxies=told.trusted_proxies,
        trusted_hops=told.trusted_hops,
        tls=told.tls,
        workers=told.workers,
        provider_timeout=told.provider_timeout,
        keep_alive=tables.keep_alive,
        drain_delay=tables.drain_delay,
        drain=told.drain_seconds,
        metrics=told.metrics,
        revocation_probe=told.revocation_probe,
        prices=told.prices,
        log_level=told.log_level,
    )


def _broker(names: EdgeConfig, tables: StageTables) -> BrokerConfig:
    return BrokerConfig(
        door="public",
        region=names.region,
        control=names.control,
        counters=names.counters,
        ledger=f"{tables.stage}-ledger",
        url=tables.issuer,
        edge_url=tables.edge_url,
        signing_key=tables.signing_key,
    )


def _report(told: Configuration, tables: StageTables) -> int:
    """Say what a start would read, and start nothing; the exit code is 1 if it would fail or serve nobody."""
    found = settings(told, tables)
    # Whether a server of this configuration runs here, nothing tells.
    named = {**found.doors, **({"metrics": found.metrics} if found.metrics else {})}
    places = check.doors(named, runs=True)
    return check.say([check.certificate(told), places, (("ok", one) for one in gateway.check(found))])
