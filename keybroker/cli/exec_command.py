"""`keybroker exec -- program`: runs a program whose SDKs, unmodified, use a token instead of a key."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from keybroker.ambient import NO_LOGIN, find_identity
from keybroker.cli import (
    child,
    claude_settings,
    identity_variables,
    isolation,
    output,
    own_process,
    sdk_variables,
    token_end,
)
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.identity_variables import Taken
from keybroker.cli.isolation import Wall
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
@click.option("--isolate", is_flag=True, help="Run it where it sees no other process and no credentials (bubblewrap).")
@click.option("--user", metavar="NAME", help="Run it as another user, as root only.")
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
    isolate: bool,  # noqa: FBT001  a flag
    user: str | None,
    command: tuple[str, ...],
) -> int:
    """Run a program with the variables of its SDKs set, and exit with its exit code.

    A token lives for minutes: use --proxy for a program that runs longer. Variables that would override these are unset,
    and so are those with which the program could get other tokens; with --isolate or --user also AWS credentials and the like.
    The token is masked in its output, and revoked when it ends.
    """
    if len(keys) > 1 and (sdk or grant or scope):
        text = "--for, --grant and --scope apply to a single key; with several, nest keybroker exec"
        raise CommandError(LOCAL, text, "all but the innermost need --keep-identity")
    walled = isolate or user is not None
    own_process_is_new = own_process.take_back()
    _check_kept(keep, keep_identity=keep_identity, never=use_proxy or walled)
    taken = _taken(keep, keep_identity=keep_identity, walled=walled, strict=use_proxy or walled)
    names = {key: sdk or key for key in keys}
    hidden = {*taken.names, *sdk_variables.concerned(names.values())}
    own_process.protect(hidden, may_restart=settings.owns_process and not own_process_is_new)
    wall = isolation.wall(os.environ, isolate=isolate, user=user)
    _say_taken(taken, can_keep=not (use_proxy or walled))
    requests = {key: TokenRequest(settings.broker_url, key, grant, scope) for key in keys}
    run = _run_behind_proxy if use_proxy else _run_with_tokens
    return run(requests, names, _Start(command, taken, wall, masked=not no_masking))


@dataclass(frozen=True, slots=True)
class _Start:
    """How the program is started. masked: whether its output is."""

    command: Sequence[str]
    taken: Taken
    wall: Wall
    masked: bool

    def run(self, environ: Mapping[str, str], secrets: Sequence[str], signals: child.Signals) -> int:
        """Run it to its end and return its exit code. secrets: to mask beside those of the environment."""
        masked = [*self.taken.secrets, *secrets] if self.masked else None
        return child.run(self.command, environ, masked, signals, self.wall)


def _run_with_tokens(requests: Mapping[str, TokenRequest], names: Mapping[str, str], start: _Start) -> int:
    issued, secrets, given, lives = Issued(), list[str](), {}, dict[str, int]()
    with contextlib.ExitStack() as stack:
        child.end_on_signals()
        stack.callback(issued.revoke)
        for key, request in requests.items():
            with output.waiting(f"waiting for {request.url}"):
                identity = find_identity()
                token = fetch(request, identity)
            issued.add(key, functools.partial(revoke_token, request.url, token.access_token))
            given[names[key]] = (token.access_token, token.base_url)
            lives[key] = token.expires_in
            secrets += [token.access_token, identity.unverified_subject_token]
        _warn_of_unread_variables(given)
        environ = _with_claude_code(sdk_variables.child_environ(start.taken.environ, given), given)
        signals = stack.enter_context(child.Signals())
        stack.callback(issued.revoke)  # while signals are held, so that none interrupts it
        # A log is told shortly before the end, a person at once: later it could be the middle of the program's own screen.
        stack.enter_context(token_end.told(lives, at_start=sys.stderr.isatty()))
        return start.run(environ, secrets, signals)


def _run_behind_proxy(requests: Mapping[str, TokenRequest], names: Mapping[str, str], start: _Start) -> int:
    from keybroker.cli import loopback  # noqa: PLC0415  only needed with --proxy
    from keybroker.cli.upstream import Upstream  # noqa: PLC0415  as above

    issued, upstreams = Issued(), {}
    with contextlib.ExitStack() as stack:
        child.end_on_signals()
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
        environ = _with_claude_code(sdk_variables.child_environ(start.taken.environ, given), given)
        environ = sdk_variables.without_proxy(environ)
        return start.run(environ, [proxy.key], signals)


def _with_claude_code(environ: Mapping[str, str], given: Mapping[str, tuple[str, str]]) -> Mapping[str, str]:
    """Return the environment with what a Claude Code needs whose settings have an apiKeyHelper; warn of what they win over.

    It sends the key of its environment and beside it what the helper says, two different tokens, which the edge refuses; but
    nothing beside an ANTHROPIC_AUTH_TOKEN.
    """
    if not {"anthropic", "claude-code"} & set(given):
        return environ
    folder = Path.cwd()
    for what in claude_settings.winning(environ, folder):
        output.labelled(
            "warning", f"{what}, which Claude Code prefers to exec's: remove it there, or run it without exec"
        )
    if "anthropic" not in given or not claude_settings.has_key_helper(environ, folder):
        return environ
    return {**environ, claude_settings.TOKEN: given["anthropic"][0]}


def _check_kept(keep: Sequence[str], *, keep_identity: bool, never: bool) -> None:
    """Raise CommandError if an identity is to be kept where none ever is."""
    named = identity_variables.always_taken(keep, os.environ)
    if never and (keep_identity or named):
        what = ", ".join(named) or "--keep-identity"
        raise CommandError(LOCAL, f"{what}: with --proxy, --isolate or --user no identity is passed on")


def _taken(keep: Sequence[str], *, keep_identity: bool, walled: bool, strict: bool) -> Taken:
    taken = identity_variables.take_out(os.environ, keep=keep, everything=walled, strict=strict)
    if keep_identity:
        return Taken(os.environ, (), taken.secrets)
    return replace(taken, environ={**taken.environ, NO_LOGIN: "1"})


def _say_taken(taken: Taken, *, can_keep: bool) -> None:
    if taken.names:
        hint = "; --keep-identity passes them on" if can_keep else ""
        output.message(f"not passed on: {', '.join(taken.names)}{hint}")


def _warn_of_unread_variables(given: Mapping[str, tuple[str, str]]) -> None:
    for name in given:
        variables = sdk_variables.variables_for(name)
        if variables.ours:
            output.message(f"{name}: its SDK is not known to read {variables.url}; pass it on as the base URL")
