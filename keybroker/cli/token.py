"""`keybroker token`: prints a token, and nothing else on stdout. Fit for Claude Code's apiKeyHelper and Codex's auth.command."""

from __future__ import annotations

import shlex
from dataclasses import asdict

import click

from keybroker.cli import output, place, sdk_variables
from keybroker.cli.place import Place
from keybroker.issued_token import Token
from keybroker.token_provider import TokenProvider


@click.command(short_help="Print a token.")
@place.key_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["raw", "json", "env", "header"]),
    help="raw: the token. env: for eval in a shell. header: for curl -H. [raw; json with --output json]",
)
@click.option("--for", "sdk", metavar="SDK", help="Whose variables `--format env` sets. [the key's name]")
@place.options
@place.passed
def token(at: Place, key: str, grant: str | None, scope: str | None, form: str | None, sdk: str | None) -> None:  # noqa: PLR0913, PLR0917  options
    """Print a token that stands in for a provider's key, for whoever this process is."""
    provider = TokenProvider(key, at.broker, grant=grant, scope=scope)
    with output.waiting(f"waiting for {at.broker}"):
        issued = provider.token()
    output.data(_shown(issued, form or ("json" if at.json else "raw"), sdk or key))


def _shown(issued: Token, form: str, sdk: str) -> str:
    if form == "json":
        return output.json_text(asdict(issued))
    if form == "header":
        return f"Authorization: Bearer {issued.access_token}"
    if form == "env":
        variables = sdk_variables.of(sdk)
        pairs = variables.set_to(issued.access_token, issued.base_url).items()
        unset = [f"unset {' '.join(variables.unset)}"] if variables.unset else []
        return "\n".join([*unset, *(f"export {name}={shlex.quote(value)}" for name, value in pairs)])
    return issued.access_token
