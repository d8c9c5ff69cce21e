"""`keybroker proxy`: runs a loopback proxy that programs use like the provider's API, until it is stopped."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading

import click

from keybroker.cli import child, identity_variables, loopback, output, own_process, sdk_variables
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.issued import Issued
from keybroker.cli.loopback import Loopback
from keybroker.cli.settings import Settings, common_options, grant_options, keys_option, pass_settings
from keybroker.cli.upstream import Upstream
from keybroker.token_provider import TokenProvider


@click.command(short_help="Run a loopback proxy that refreshes its token.")
@keys_option
@grant_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on. [any free port]")
@common_options
@pass_settings
def proxy(settings: Settings, keys: tuple[str, ...], grant: str | None, scope: str | None, port: int) -> None:
    """Run a loopback proxy until Ctrl-C, and print the variables that point SDKs to it. Its token is revoked at the end."""
    if len(keys) > 1 and (grant or scope):
        raise CommandError(LOCAL, "--grant and --scope apply to a single key")
    url = settings.broker_url
    is_new = own_process.take_back()
    hidden = {*identity_variables.take_out(os.environ).names, *sdk_variables.concerned(keys)}
    own_process.protect(hidden, may_restart=settings.owns_process and not is_new)
    issued, upstreams = Issued(), {}
    with contextlib.ExitStack() as stack:
        child.end_on_signals()
        stack.callback(issued.revoke)
        for key in keys:
            provider = TokenProvider(key, url, grant=grant, scope=scope)
            issued.add(key, provider.revoke)
            with output.waiting(f"waiting for {url}"):
                upstreams[key] = Upstream(key, provider)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        running = stack.enter_context(loopback.serve(upstreams, port))
        _announce(settings, running)
        output.message("serving; press Ctrl-C to stop")
        stopped.wait()


def _announce(settings: Settings, running: Loopback) -> None:
    if settings.json:
        base_urls = {name: running.base_url(name) for name in running.upstreams}
        output.json_line({"key": running.key, "base_urls": base_urls})
        return
    for name in running.upstreams:
        for variable, value in (
            sdk_variables.variables_for(name).assignments(running.key, running.base_url(name)).items()
        ):
            output.data(f"export {variable}={shlex.quote(value)}")
    sys.stdout.flush()
