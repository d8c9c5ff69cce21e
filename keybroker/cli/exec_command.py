"""`keybroker exec -- program`: runs a program whose SDKs, unmodified, use a token instead of a key."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence

import click

from keybroker.ambient import find_identity
from keybroker.cli import child, identity_variables, output, own_process, sdk_variables
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.identity_variables import Taken
from keybroker.cli.issued import Issued
from keybroker.cli.settings import Settings, common_options, grant_options, keys_option, pass_settings
from keybroker.client import revoke_token
from keybroker.fetch import fetch
from keybroker.token import TokenRequest
from keybroker.token_provider import TokenProvider


@click.command(
    "exec", short_help="Run a program with tokens for its SDKs.", context_settings={"allow_interspersed_args": False}
)
@keys_option
@click.option("--for", "sdk", metavar="SDK", help="The SDK whose variables to set, e.g. claude-code. [the key's name]")
@grant_options
@click.option("--proxy", "use_proxy", is_flag=True, help="Run it behind a loopback proxy that refreshes its token.")
@click.option("--no-masking", is_flag=True, help="Do not mask the token in its output; the program keeps the terminal.")
@click.option("--keep-identity", is_flag=True, help="Pass on the variables with which it can get tokens by itself.")
@click.option("--keep", multiple=True, metavar="NAME", help="Pass on this variable, e.g. a JWT; may be repeated.")
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
    keep_identity: bool,  # noqa: FBT001  a flag
    keep: tuple[str, ...],
    command: tuple[str, ...],
) -> int:
    """Run a program with the variables of its SDKs set, and exit with its exit code.

    A token lives for minutes: use --proxy for a program that runs longer. Variables that would override these are unset,
    and so are those with which the program could get other tokens. The token is masked in its output, and revoked when it
    ends.
    """
    if len(keys) > 1 and (sdk or grant or scope):
        text = "--for, --grant and --scope apply to a single key; with several, nest keybroker exec"
        raise CommandError(LOCAL, text, "all but the innermost need --keep-identity")
    _check_kept(keep, keep_identity=keep_identity, walled=use_proxy)
    own_process_is_new = own_process.take_back()
    taken = _taken(keep, keep_identity=keep_identity)
    names = {key: sdk or key for key in keys}
    hidden = {*taken.names, *sdk_variables.concerned(names.values())}
    own_process.protect(hidden, may_restart=settings.owns_process and not own_process_is_new)
    _say_taken(taken, can_keep=not use_proxy)
    requests = {key: TokenRequest(settings.broker_url, key, grant, scope) for key in keys}
    run = _run_behind_proxy if use_proxy else _run_with_tokens
    return run(requests, names, command, taken, masked=not no_masking)


def _run_with_tokens(
    requests: Mapping[str, TokenRequest],
    names: Mapping[str, str],
    command: Sequence[str],
    taken: Taken,
    *,
    masked: bool,
) -> int:
    issued, secrets, given = Issued(), list(taken.secrets), {}
    with contextlib.ExitStack() as stack:
        stack.callback(issued.revoke)
        for key, request in requests.items():
            with output.waiting(f"waiting for {request.url}"):
                identity = find_identity()
                token = fetch(request, identity)
            issued.add(key, functools.partial(revoke_token, request.url, token.access_token))
            given[names[key]] = (token.access_token, token.base_url)
            secrets += [token.access_token, identity.unverified_subject_token]
        _warn_of_unread_variables(given)
        environ = sdk_variables.child_environ(taken.environ, given)
        signals = stack.enter_context(child.Signals())
        stack.callback(issued.revoke)  # while signals are held, so that none interrupts it
        return child.run(command, environ, secrets if masked else None, signals)


def _run_behind_proxy(
    requests: Mapping[str, TokenRequest],
    names: Mapping[str, str],
    command: Sequence[str],
    taken: Taken,
    *,
    masked: bool,
) -> int:
    from keybroker.cli import loopback  # noqa: PLC0415  only needed with --proxy
    from keybroker.cli.upstream import Upstream  # noqa: PLC0415  as above

    issued, upstreams = Issued(), {}
    with contextlib.ExitStack() as stack:
        stack.callback(issued.revoke)
        for key, request in requests.items():
            provider = TokenProvider(key, request.url, grant=request.grant, scope=request.scope)
            issued.add(key, provider.revoke)
            with output.waiting(f"waiting for {request.url}"):
                upstreams[key] = Upstream(key, provider)
        signals = stack.enter_context(child.Signals())
        stack.callback(issued.revoke)
        proxy = stack.enter_context(loopback.serve(upstreams))
        given = {names[key]: (proxy.key, proxy.base_url(key)) for key in requests}
        _warn_of_unread_variables(given)
        environ = sdk_variables.without_proxy(sdk_variables.child_environ(taken.environ, given))
        return child.run(command, environ, [proxy.key, *taken.secrets] if masked else None, signals)


def _check_kept(keep: Sequence[str], *, keep_identity: bool, walled: bool) -> None:
    """Raise CommandError if an identity is to be kept where none ever is."""
    named = identity_variables.always_taken(keep)
    if walled and (keep_identity or named):
        what = ", ".join(named) or "--keep-identity"
        raise CommandError(LOCAL, f"{what}: with --proxy no identity is passed on; the proxy gets the program's tokens")


def _taken(keep: Sequence[str], *, keep_identity: bool) -> Taken:
    taken = identity_variables.take_out(os.environ, keep=keep)
    return Taken(os.environ, (), taken.secrets) if keep_identity else taken


def _say_taken(taken: Taken, *, can_keep: bool) -> None:
    if taken.names:
        hint = "; --keep-identity passes them on" if can_keep else ""
        output.message(f"not passed on: {', '.join(taken.names)}{hint}")


def _warn_of_unread_variables(given: Mapping[str, tuple[str, str]]) -> None:
    for name in given:
        variables = sdk_variables.variables_for(name)
        if variables.ours:
            output.message(f"{name}: no known SDK reads {variables.url}; pass it on as the base URL")
