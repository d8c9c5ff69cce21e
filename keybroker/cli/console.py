"""`keybroker console`: the security team's page, served at this machine's loopback address until it is stopped or idle."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keybroker.cli import output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, pass_settings

if TYPE_CHECKING:  # it needs an extra
    from keybroker.console.server import ConsoleServer

PORT = 8640
"""The usual one, so that an address of one console is that of a colleague's, too."""
_LOOK_SECONDS = 1.0
_OPENED_SECONDS = 60.0


@click.command(short_help="Open the security team's page in a browser.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"Port to listen on; 0 for any. [{PORT}, or any if that is taken]"
)
@click.option("--no-open", is_flag=True, help="Print the address that opens it, instead of opening a browser.")
@common_options
@pass_settings
def console(settings: Settings, port: int | None, no_open: bool) -> None:  # noqa: FBT001  a flag
    """Serve a page at 127.0.0.1 that shows every principal and takes one out, with your own AWS credentials.

    It ends with Ctrl-C, and by itself when nobody used it for 30 minutes.
    """
    try:
        from keybroker.console import routes  # noqa: PLC0415  an extra
        from keybroker.console.api import Api  # noqa: PLC0415  as above
        from keybroker.console.console import Console  # noqa: PLC0415  as above
        from keybroker.console.server import ConsoleServer  # noqa: PLC0415  as above
    except ImportError:
        raise CommandError(LOCAL, "the console needs Jinja: pip install 'jinja2>=3.1.6,<4'") from None
    made = Console(Api(AdminClient(settings.admin_api_url)), csrf="")

    def serving(at: int) -> ConsoleServer:
        return ConsoleServer(at, routes.answering(made), lambda name, status: routes.bare(made, name, status))

    server = _listening(serving, port)
    made.csrf = server.session.csrf
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    with server.running(), contextlib.ExitStack() as stack:
        address = f"{server.url}enter?secret={server.session.secret}"
        if no_open:
            output.message(
                "open this address within a minute; it works once, and opens the console to anyone who has it:"
            )
            if settings.json:
                output.json_line({"address": address})
            else:
                output.data(address)
                sys.stdout.flush()
        else:
            stack.enter_context(_opened(address))
            output.message(f"serving {server.url}; press Ctrl-C to stop")
        while not stopped.wait(_LOOK_SECONDS):
            if server.session.ended(time.monotonic()):
                output.message("ended: nobody used it for 30 minutes, or it ran for 12 hours")
                return


def _listening(serving: Callable[[int], ConsoleServer], port: int | None) -> ConsoleServer:
    """Return a server at this port, by default at the usual one, or any where that is taken; raises CommandError."""
    try:
        return serving(PORT if port is None else port)
    except OSError as error:
        if port is None:
            return serving(0)
        raise CommandError(LOCAL, f"cannot listen on port {port}: {error.strerror}") from None


@contextlib.contextmanager
def _opened(address: str) -> Iterator[None]:
    """Open a browser by a file of our own that leads to the address."""
    # SECURITY: a program's arguments can be read by everybody here, and the address opens the page: so the browser is given
    # the name of a file that nobody else can read (test_the_secret_is_in_no_argument).
    number, name = tempfile.mkstemp(prefix="keybroker-console-", suffix=".html")
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={escape(address)}">'
    with os.fdopen(number, "w") as file:
        file.write(page)
    timer = threading.Timer(_OPENED_SECONDS, lambda: Path(name).unlink(missing_ok=True))
    timer.daemon = True
    timer.start()
    try:
        if not webbrowser.open(Path(name).as_uri()):
            output.labelled("warning", "no browser was found: start it again with --no-open")
        yield
    finally:
        timer.cancel()
        Path(name).unlink(missing_ok=True)
