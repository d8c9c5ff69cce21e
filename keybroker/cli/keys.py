"""`keybroker keys …`: the providers' keys. Their values go in and never come out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from keybroker.cli import input_file, key_table, output
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings

_PROBED = {
    "restricted": "the provider knows this key and did not let it do what was tried: see that its scopes open what is called",
    "none": "there is no way to ask this provider whether a key works: make a call to see",
    "skipped": "the provider was not asked whether this key works: make a call to see",
}
"""What is said of a key whose provider did not say that it works."""


@click.group(short_help="List the keys, or set one.")
@common_options
def keys() -> None:
    """List the policy's keys, or set a key's value."""


@keys.command("list")
@common_options
@pass_settings
def list_keys(settings: Settings) -> None:
    """List the keys: when they were set, used and are due, and where they are sent, never their values."""
    answer = AdminClient(settings.admin_api_url).get("/admin/keys")
    if settings.json:
        output.as_json(answer["items"])
    else:
        key_table.show(answer)
    if not answer.get("complete"):
        output.labelled("warning", "not all counts were read: a key without a last use may have been used")


@keys.command("set")
@click.argument("name")
@click.option("--file", metavar="FILE", help="File with the value (mode 600); - for standard input. [hidden prompt]")
@click.option("--origin", metavar="URL", help="Where it may be sent. [as now, or the provider's]")
@click.option("--header", metavar="NAME", help="Header that carries it. [as now, or the provider's]")
@click.option("--prefix", metavar="TEXT", help='Text put before the value, e.g. "Bearer ". [as now]')
@click.option("--no-probe", is_flag=True, help="Do not ask the provider whether the value works.")
@dry_run_option()
@common_options
@pass_settings
def set_key(
    settings: Settings, /, name: str, file: str | None, *, no_probe: bool, dry_run: bool, **parts: str | None
) -> None:
    """Set a key's value; it takes effect with the next call, once the provider has accepted it.

    What you do not name stays as it is: the origin above all, which is shown with the one before it.
    The value comes from a file, from standard input or from a hidden prompt, never from the command line, which other
    users of this machine can read.
    """
    body = {"value": _read_value(file), **{part: text for part, text in parts.items() if text is not None}}
    path = f"/admin/keys/{segment(name)}"
    query = {"dry_run": dry_run, "probe": "false" if no_probe else None}
    result = AdminClient(settings.admin_api_url).call("PUT", path, query, body).body
    if settings.json:
        output.as_json(result)
    elif dry_run:
        output.message(f"dry run: {name} would be sent to {_destination(result)}; nothing was changed")
    else:
        output.message(f"in force: {name} version {result['version']}, sent to {_destination(result)}")
    if not settings.json and (told := _PROBED.get(result.get("probe", ""))):
        output.labelled("warning", told)


def _destination(result: Mapping[str, Any]) -> str:
    """Say where a key goes and went, e.g. "https://a.example (before: https://b.example) as authorization"."""
    before, now = result.get("previous_origin"), result["origin"]
    changed = "" if before is None else " (unchanged)" if before == now else f" (before: {before})"
    return f"{now}{changed} as {result['header']}"


def _read_value(file: str | None) -> str:
    if file is not None:
        value = input_file.read_secret(file)
    elif sys.stdin.isatty():
        value = str(click.prompt("New value (hidden)", hide_input=True, err=True))
    else:
        value = input_file.read_secret("-")
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise CommandError(LOCAL, "the value is empty")
    return value
