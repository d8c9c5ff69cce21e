"""`keybroker keys …`: the providers' keys. Their values go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from keybroker.cli import key_orphans, key_table, key_value, output
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import DONE
from keybroker.cli.key_manage import manage
from keybroker.cli.key_rotate import rollback, rotate
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings

_PROBED = {
    "restricted": "the provider knows this key and did not let it do what was tried: see that its scopes open what is called",
    "none": "there is no way to ask this provider whether a key works: make a call to see",
    "skipped": "the provider was not asked whether this key works: make a call to see",
}
"""What is said of a key whose provider did not say that it works."""


@click.group(short_help="List the keys, set one, replace one.")
@common_options
def keys() -> None:
    """List the policy's keys, set a key's value, replace it by a new one, or go back to the one before."""


for command in (rotate, rollback, manage):
    keys.add_command(command)


@keys.command("list")
@click.option("--orphans", is_flag=True, help="Ask the providers for keys that the broker made there and nobody uses.")
@common_options
@pass_settings
def list_keys(settings: Settings, orphans: bool) -> int:  # noqa: FBT001  a flag
    """List the keys: when they were set, used and are due, how they are replaced, and where they are sent, never their values."""
    client = AdminClient(settings.admin_api_url)
    if orphans:
        return key_orphans.show(client, as_json=settings.json)
    answer = client.get("/admin/keys")
    if settings.json:
        output.as_json(answer["items"])
    else:
        key_table.show(answer)
    if not answer.get("complete"):
        output.labelled("warning", "not all counts were read: a key without a last use may have been used")
    return DONE


@keys.command("set")
@click.argument("name")
@click.option("--file", metavar="FILE", help="File with the value (mode 600); - for standard input. [hidden prompt]")
@click.option("--origin", metavar="URL", help="Where it may be sent. [as now, or the provider's]")
@click.option("--header", metavar="NAME", help="Header that carries it. [as now, or the provider's]")
@click.option("--prefix", metavar="TEXT", help='Text put before the value, e.g. "Bearer ". [as now]')
@click.option("--no-probe", is_flag=True, help="Do not ask the provider whether the value works.")
@click.option("--leaked", is_flag=True, help="Others know the value until now: keep none to go back to.")
@dry_run_option()
@common_options
@pass_settings
def set_key(settings: Settings, /, name: str, file: str | None, *, dry_run: bool, **options: Any) -> None:  # noqa: ANN401  as declared above
    """Set a key's value; it takes effect with the next call, once the provider has accepted it.

    What you do not name stays as it is: the origin above all, which is shown with the one before it.
    The value comes from a file, from standard input or from a hidden prompt, never from the command line, which other
    users of this machine can read.
    """
    parts = {part: options[part] for part in ("origin", "header", "prefix") if options[part] is not None}
    body = {"value": key_value.read(file), **parts}
    path = f"/admin/keys/{segment(name)}"
    query = {"dry_run": dry_run, "probe": "false" if options["no_probe"] else None, "leaked": options["leaked"]}
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
