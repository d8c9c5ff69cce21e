"""`keybroker keys manage`: with which account at the provider the broker replaces a key."""

from __future__ import annotations

from collections.abc import Sequence

import click

from keybroker.cli import key_value, output
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings


@click.command("manage", short_help="Let the broker replace a key at its provider.")
@click.argument("name")
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="What the provider needs beside it; may be repeated."
)
@click.option("--file", metavar="FILE", help="File with the management key (mode 600); - for standard input. [prompt]")
@dry_run_option()
@common_options
@pass_settings
def manage(settings: Settings, /, name: str, *, pairs: Sequence[str], file: str | None, dry_run: bool) -> None:
    """Set the management key with which the broker makes and deletes a key at its provider: keybroker keys rotate.

    OpenAI: an admin key, --set project=proj_… and --set service_account=…, and --set scopes=a,b for less than all.
    OpenRouter: a provisioning key; --set limit=100 bounds in credits what each key may spend, --set workspace_id=… says where.

    The provider is asked to list the account's keys before it is stored. It cannot be read back, and no call is made with it.
    """
    settings_of = _settings(pairs)
    body = {"value": key_value.read(file, "Management key"), "settings": settings_of}
    path = f"/admin/keys/{segment(name)}/management"
    answer = AdminClient(settings.admin_api_url).call("PUT", path, {"dry_run": dry_run}, body).body
    told = "".join(f", {one}={value}" for one, value in sorted(answer["management"]["settings"].items()))
    if settings.json:
        output.as_json(answer)
    elif dry_run:
        output.message(f"dry run: {name} would be replaced by its provider's API{told}; nothing was changed")
    else:
        output.message(f"set: {name} is replaced by its provider's API from now on{told}")
        output.message(f"next: keybroker keys rotate {name}")


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value or name in found:
            # SECURITY: it is not quoted: it may be the management key (test_a_management_key_as_a_setting).
            raise CommandError(LOCAL, "--set takes NAME=VALUE, each name once, such as project=proj_1")
        found[name] = value
    return found
