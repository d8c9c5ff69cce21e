"""`keybroker exec -- program`: runs a program whose SDKs, unmodified, use a token instead of a key."""

from __future__ import annotations

import os

import click

from keybroker.cli import child, output, sdk_variables
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, grant_options, keys_option, pass_settings
from keybroker.token_provider import TokenProvider


@click.command(
    "exec", short_help="Run a program with tokens for its SDKs.", context_settings={"allow_interspersed_args": False}
)
@keys_option
@click.option("--for", "sdk", metavar="SDK", help="The SDK whose variables to set, e.g. claude-code. [the key's name]")
@grant_options
@click.option("--proxy", "use_proxy", is_flag=True, help="Run it behind a loopback proxy that refreshes its token.")
@click.option("--no-masking", is_flag=True, help="Do not mask the token in its output; the program keeps the terminal.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
@common_options
@pass_settings
def exec_command(  # noqa: PLR0913, PLR0917  options
    settings: Settings,
    keys: tuple[str, ...],
    sdk: str | None,
    grant: str | None,
    scope: str | None,
    use_proxy: bool,  # noqa: FBT001  a flag
    no_masking: bool,  # noqa: FBT001  a flag
    command: tuple[str, ...],
) -> int:
    """Run a program with the variables of its SDKs set, and exit with its exit code.

    A token lives for minutes: use --proxy for a program that runs longer. Variables that would override these are unset,
    and the token is masked in the program's output.
    """
    if len(keys) > 1 and (sdk or grant or scope):
        raise CommandError(LOCAL, "--for, --grant and --scope apply to a single key; with several, nest keybroker exec")
    providers = {key: TokenProvider(key, settings.broker_url, grant=grant, scope=scope) for key in keys}
    names = {key: sdk or key for key in keys}
    if use_proxy:
        return _run_behind_proxy(providers, names, command, masked=not no_masking)
    with output.waiting(f"waiting for {settings.broker_url}"):
        given = {names[key]: (provider(), provider.base_url) for key, provider in providers.items()}
    _warn_of_unread_variables(given)
    environ = sdk_variables.child_environ(os.environ, given)
    if no_masking:
        child.become(command, environ)
    return child.run(command, environ, [token for token, _ in given.values()])


def _run_behind_proxy(
    providers: dict[str, TokenProvider], names: dict[str, str], command: tuple[str, ...], *, masked: bool
) -> int:
    from keybroker.cli import loopback  # noqa: PLC0415  only needed with --proxy
    from keybroker.cli.upstream import Upstream  # noqa: PLC0415  as above

    with output.waiting("waiting for the broker"):
        upstreams = {key: Upstream(key, provider) for key, provider in providers.items()}
    with loopback.serve(upstreams) as proxy:
        given = {names[key]: (proxy.key, proxy.base_url(key)) for key in providers}
        _warn_of_unread_variables(given)
        environ = sdk_variables.without_proxy(sdk_variables.child_environ(os.environ, given))
        return child.run(command, environ, [proxy.key] if masked else [])


def _warn_of_unread_variables(given: dict[str, tuple[str, str]]) -> None:
    for name in given:
        variables = sdk_variables.variables_for(name)
        if variables.ours:
            output.message(f"{name}: no known SDK reads {variables.url}; pass it on as the base URL")
