"""`keybroker token`: prints a token, and nothing else on stdout. Fit for Claude Code's apiKeyHelper and Codex's auth.command."""

from __future__ import annotations

import shlex
from dataclasses import asdict

import click

from keybroker.cli import output
from keybroker.cli.sdk_variables import variables_for
from keybroker.cli.settings import Settings, common_options, grant_options, key_option, pass_settings
from keybroker.token import Token
from keybroker.token_provider import TokenProvider


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
@common_options
@pass_settings
def token(  # noqa: PLR0913, PLR0917  options
    settings: Settings, key: str, grant: str | None, scope: str | None, form: str | None, sdk: str | None
) -> None:
    """Print a token that stands in for a provider's key, issued for this process's identity."""
    provider = TokenProvider(key, settings.broker_url, grant=grant, scope=scope)
    with output.waiting(f"waiting for {settings.broker_url}"):
        issued = provider.token()
    output.data(_formatted(issued, form or ("json" if settings.json else "raw"), sdk or key))


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
