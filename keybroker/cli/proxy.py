"""`keybroker proxy`: a loopback address that programs use like the provider's, for as long as this command runs."""

from __future__ import annotations

import shlex
import signal
import sys
import threading

import click

from keybroker.cli import loopback, output, place, sdk_variables
from keybroker.cli.failure import LOCAL, Failure
from keybroker.cli.loopback import Loopback
from keybroker.cli.place import Place
from keybroker.cli.upstream import Upstream
from keybroker.token_provider import TokenProvider


@click.command(short_help="Serve a loopback address that keeps fresh.")
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="NAME", envvar="KEYBROKER_KEY", help="May be repeated."
)
@click.option("--grant", metavar="NAME", help="The grant, where several match.")
@click.option("--scope", metavar="SCOPE", help="METHOD:/path values, to get less than the grant allows.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On this port. [any free one]")
@place.options
@place.passed
def proxy(at: Place, keys: tuple[str, ...], grant: str | None, scope: str | None, port: int) -> None:
    """Serve an address on this machine until Ctrl-C, and print the variables that lead SDKs to it."""
    if len(keys) > 1 and (grant or scope):
        raise Failure(LOCAL, "--grant and --scope are about one key")
    with output.waiting(f"waiting for {at.broker}"):
        upstreams = {key: Upstream(key, TokenProvider(key, at.broker, grant=grant, scope=scope)) for key in keys}
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with loopback.serve(upstreams, port) as here:
        _announce(at, here)
        output.message("serving; Ctrl-C ends it")
        ended.wait()


def _announce(at: Place, here: Loopback) -> None:
    if at.json:
        output.json_line({"key": here.key, "base_urls": {name: here.base_url(name) for name in here.upstreams}})
        return
    for name in here.upstreams:
        variables = sdk_variables.of(name)
        for variable, value in variables.set_to(here.key, here.base_url(name)).items():
            output.data(f"export {variable}={shlex.quote(value)}")
    sys.stdout.flush()
