"""`keybroker token`: prints a token, and nothing else on stdout. Fit for Claude Code's apiKeyHelper and Codex's auth.command."""

from __future__ import annotations

import shlex
import sys
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict

import click

from keybroker.ambient import find_identity
from keybroker.broker_url import check_broker_url
from keybroker.cli import output
from keybroker.cli.command_error import from_error
from keybroker.cli.kept_refusal import KeptRefusal
from keybroker.cli.sdk_variables import variables_for
from keybroker.cli.settings import Settings, common_options, grant_options, key_option, pass_settings
from keybroker.errors import Refused, Unreachable
from keybroker.fetch import fetch
from keybroker.token import Token, TokenRequest


@click.command(short_help="Print a token.")
@key_option
@grant_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["raw", "json", "env", "header"]),
    help="raw: the token. env: for eval in a shell. header: for curl -H. [raw; json with --output json]",
)
@click.option("--for", "sdk", metavar="SDK", help="The SDK whose variables `--format env` sets. [the key's name]")
@click.option("--fresh", is_flag=True, help="Ask the broker even if it refused the same some seconds ago.")
@click.option("--timeout", type=click.FloatRange(min=0.1, max=120.0), metavar="SECONDS", help="Give up after so long.")
@common_options
@pass_settings
def token(  # noqa: PLR0913, PLR0917  options
    settings: Settings,
    key: str,
    grant: str | None,
    scope: str | None,
    form: str | None,
    sdk: str | None,
    fresh: bool,  # noqa: FBT001  a flag
    timeout: float | None,
) -> None:
    """Print a token that stands in for a provider's key, issued for this process's identity.

    A tool that runs this again and again gets a refusal of the last ten seconds once more, without another request. On a
    terminal, and with --fresh, the broker is always asked.
    """
    request = TokenRequest(settings.broker_url, key, grant, scope)
    check_broker_url(request.url)
    ask_again = fresh or sys.stdout.isatty()
    try:
        with output.waiting(f"waiting for {request.url}"):
            issued = _within(timeout, request, ask_again=ask_again)
    except (Refused, Unreachable) as error:
        # Agents show a helper's last line, or end with it.
        raise from_error(error, reason_last=True) from None
    output.data(_formatted(issued, form or ("json" if settings.json else "raw"), sdk or key))


def _within(seconds: float | None, request: TokenRequest, *, ask_again: bool) -> Token:
    """Return a token; raises Unreachable if that takes longer, and leaves the request to end by itself."""
    if seconds is None:
        return _issued(request, ask_again=ask_again)
    done: Future[Token] = Future()

    def run() -> None:
        try:
            done.set_result(_issued(request, ask_again=ask_again))
        except BaseException as error:  # noqa: BLE001  raised again by the one that waits
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()  # a daemon does not keep the process from ending
    try:
        return done.result(seconds)
    except FutureTimeoutError:
        raise Unreachable(f"no token within {seconds:g} s") from None


def _issued(request: TokenRequest, *, ask_again: bool) -> Token:
    identity = find_identity()
    kept = KeptRefusal.of(request, identity)
    refused = None if ask_again else kept.find()
    if refused is not None:
        raise refused
    try:
        found = fetch(request, identity)
    except Refused as refusal:
        kept.keep(refusal)
        raise
    kept.forget()
    return found


def _formatted(issued: Token, form: str, sdk: str) -> str:
    if form == "json":
        return output.json_text(asdict(issued))
    if form == "header":
        return f"Authorization: Bearer {issued.access_token}"
    if form == "env":
        variables = variables_for(sdk)
        pairs = variables.assignments(issued.access_token, issued.base_url).items()
        unset = [f"unset {' '.join(variables.unset)}"] if variables.unset else []
        return "\n".join([*unset, *(f"export {name}={shlex.quote(value)}" for name, value in pairs)])
    return issued.access_token
