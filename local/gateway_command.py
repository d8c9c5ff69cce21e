"""`python -m local gateway`: the edge of a deployed stage as a server, beside the stage's Lambda or in its place.

Everything that it is told is an option, and none of it is secret: a container's command, or a pod's arguments.
Exit codes: 0 stopped by a signal, 1 an error in one line, 2 options that are no use.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chalicelib.errors import Unavailable
from local import configuration_values
from local.addresses import Listen
from local.configuration import TlsFiles
from local.serve_command import not_started


def add_to(commands: Any) -> None:  # noqa: ANN401  argparse has no public name for this type
    """Add the command to a parser."""
    text = "run the edge over the tables of a deployed stage until SIGTERM (docs/gateway.md)"
    parser = commands.add_parser("gateway", help=text)
    parser.set_defaults(parser=parser)
    add = parser.add_argument
    add("--region", type=_region, required=True, metavar="REGION", help="the region of the stage's tables and keys")
    add("--stage", type=_prefix, required=True, metavar="NAME", help="the stage's name, the prefix of its tables")
    add("--issuer", type=_url, required=True, metavar="URL", help="the broker's URL, the `iss` of its tokens")
    add("--url", type=_url, required=True, metavar="URL", help="this gateway's own URL, as its callers have it")
    add("--secrets-region", type=_region, metavar="REGION", help="the region of the provider keys (default: --region)")
    add(
        "--host",
        type=_address,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to listen at (default: 127.0.0.1)",
    )
    add("--port", type=_number(0, 65535), default=8081, metavar="N", help="the port (default: 8081; 0: any free one)")
    text = "networks whose X-Forwarded-For is believed, with commas between (default: none)"
    add("--trusted-proxies", type=_networks, default=(), metavar="NETWORKS", help=text)
    text = "how many of these stand one behind another, where callers have addresses like theirs (default: any number)"
    add("--trusted-hops", type=_number(1, 16), metavar="N", help=text)
    text = "the certificate with its chain, PEM, to serve TLS; SIGHUP has it read again (default: none)"
    add("--tls-certificate", type=Path, metavar="FILE", help=text)
    add("--tls-key", type=Path, metavar="FILE", help="its private key, PEM (default: none)")
    add("--workers", type=_number(1, 64), default=1, metavar="W", help="processes, one for each core (default: 1)")
    text = "how long a provider may be silent before its answer and within it, 1 to 3600 (default: any time)"
    add("--provider-timeout", type=_number(1, 3600), metavar="SECONDS", help=text)
    text = "how long a connection may stay open without a request, more than a load balancer keeps it (default: 75)"
    add("--keep-alive", type=_number(5, 7200), default=75, metavar="SECONDS", help=text)
    text = "how long calls are still taken after SIGTERM, until load balancers have noticed (default: 5)"
    add("--drain-delay", type=_number(0, 120), default=5, metavar="SECONDS", help=text)
    text = "how long calls under way then have to finish (default: 100)"
    add("--drain", type=_number(1, 3600), default=100, metavar="SECONDS", help=text)
    text = "the address and port at which /metrics is answered, as 127.0.0.1:9464 (default: none)"
    add("--metrics", type=_listen, metavar="ADDRESS:PORT", help=text)
    text = "let /metrics be answered beyond this machine, in plain HTTP, to anyone who reaches it"
    add("--metrics-beyond-loopback", action="store_true", help=text)
    add("--json", action="store_true", help="print one line of JSON to stdout when it responds")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from chalicelib.aws.config import EdgeConfig  # noqa: PLC0415  botocore takes a while, which other commands need not wait
    from local import gateway  # noqa: PLC0415  as above
    from local.gateway_settings import Settings  # noqa: PLC0415  as above

    names = EdgeConfig(
        region=options.region,
        control=f"{options.stage}-control",
        counters=f"{options.stage}-counters",
        secrets_region=options.secrets_region or options.region,
        secrets_prefix=options.stage,
        issuer=options.issuer,
        edge_url=options.url,
    )
    # SECURITY: tokens cross no network in the clear that is not said to lie behind TLS
    # (test_beyond_this_machine_it_speaks_tls).
    if not (ipaddress.ip_address(options.host).is_loopback or options.trusted_proxies or options.tls_certificate):
        options.parser.error("--host beyond this machine needs --tls-certificate, or --trusted-proxies in front of it")
    # SECURITY: the numbers are on no network unless that is said (test_metrics_stay_on_loopback_at_a_gateway).
    if options.metrics and not (options.metrics.is_loopback or options.metrics_beyond_loopback):
        options.parser.error("--metrics beyond this machine needs --metrics-beyond-loopback")
    if bool(options.tls_certificate) != bool(options.tls_key):
        options.parser.error("--tls-certificate and --tls-key belong together")
    told = "trusted_proxies trusted_hops workers provider_timeout keep_alive drain_delay drain metrics".split()  # noqa: SIM905  a list of words
    files = TlsFiles(options.tls_certificate, options.tls_key) if options.tls_key else None
    doors = {"edge": Listen(options.host, options.port)}
    settings = Settings(names, doors, tls=files, **{name: getattr(options, name) for name in told})

    def announce(urls: Mapping[str, str]) -> None:
        url = urls["edge"]
        print(f"gateway at {url}; /readyz says when the tables answer", file=sys.stderr)
        if options.json:
            print(json.dumps({"gateway": url}), flush=True)

    try:
        gateway.serve(settings, announce)
    except (Unavailable, OSError) as fault:
        return not_started(fault)
    return 0


def _number(least: int, most: int) -> Any:  # noqa: ANN401  as argparse has it
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return read


def _listen(text: str) -> Listen:
    try:
        return configuration_values.address(text, Path())
    except ValueError as allowed:
        raise argparse.ArgumentTypeError(f"{allowed}, not {text!r}") from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"an IP address, not {text!r}") from None


def _networks(text: str) -> tuple[Any, ...]:
    try:
        return configuration_values.networks(text.split(","), Path())
    except ValueError:
        allowed = "IP addresses and networks with commas between, none of them all addresses"
        raise argparse.ArgumentTypeError(f"{allowed}, not {text!r}") from None


def _told(read: Callable[[object], str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            return read(text)
        except ValueError as allowed:
            raise argparse.ArgumentTypeError(f"{allowed}, not {text!r}") from None

    return check


_region, _prefix = _told(configuration_values.region), _told(configuration_values.stage)
_url = _told(configuration_values.stage_url)
