"""`keybroker exec -- program`: runs a program whose SDKs, unmodified, use a token instead of a key."""

from __future__ import annotations

import os

import click

from keybroker.cli import child, output, place, sdk_variables
from keybroker.cli.failure import LOCAL, Failure
from keybroker.cli.place import Place
from keybroker.token_provider import TokenProvider


@click.command(
    "exec", short_help="Run a program with tokens for its SDKs.", context_settings={"allow_interspersed_args": False}
)
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="NAME", envvar="KEYBROKER_KEY", help="May be repeated."
)
@click.option("--for", "sdk", metavar="SDK", help="Whose variables are set, e.g. claude-code. [the key's name]")
@click.option("--grant", metavar="NAME", help="The grant, where several match.")
@click.option("--scope", metavar="SCOPE", help="METHOD:/path values, to get less than the grant allows.")
@click.option("--proxy", "through", is_flag=True, help="Give it a loopback address that fetches fresh tokens for it.")
@click.option("--no-masking", is_flag=True, help="Leave its output alone, and its terminal to it.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
@place.options
@place.passed
def exec_command(  # noqa: PLR0913, PLR0917  options
    at: Place,
    keys: tuple[str, ...],
    sdk: str | None,
    grant: str | None,
    scope: str | None,
    through: bool,  # noqa: FBT001  a flag
    no_masking: bool,  # noqa: FBT001  a flag
    command: tuple[str, ...],
) -> int:
    """Run a program with the variables that its SDKs read, and pass its exit code on.

    A token lives for minutes: a program that runs longer wants --proxy. What would win over the variables is unset, and
    the token is masked in what the program writes.
    """
    if len(keys) > 1 and (sdk or grant or scope):
        raise Failure(LOCAL, "--for, --grant and --scope are about one key; with several, say keybroker exec twice")
    providers = {key: TokenProvider(key, at.broker, grant=grant, scope=scope) for key in keys}
    names = {key: sdk or key for key in keys}
    if through:
        return _through_proxy(providers, names, command, masked=not no_masking)
    with output.waiting(f"waiting for {at.broker}"):
        given = {names[key]: (one(), one.base_url) for key, one in providers.items()}
    _advise(given)
    environ = sdk_variables.child(os.environ, given)
    if no_masking:
        child.become(command, environ)
    return child.run(command, environ, [token for token, _ in given.values()])


def _through_proxy(
    providers: dict[str, TokenProvider], names: dict[str, str], command: tuple[str, ...], *, masked: bool
) -> int:
    from keybroker.cli import loopback  # noqa: PLC0415  of use with --proxy alone
    from keybroker.cli.upstream import Upstream  # noqa: PLC0415  as that

    with output.waiting("waiting for the broker"):
        paths = {key: Upstream(key, one) for key, one in providers.items()}
    with loopback.serve(paths) as here:
        given = {names[key]: (here.key, here.base_url(key)) for key in providers}
        _advise(given)
        environ = sdk_variables.without_proxy(sdk_variables.child(os.environ, given))
        return child.run(command, environ, [here.key] if masked else [])


def _advise(given: dict[str, tuple[str, str]]) -> None:
    for name in given:
        variables = sdk_variables.of(name)
        if variables.ours:
            output.message(f"{name}: no SDK is known to read {variables.url}; pass it on as the base URL")
