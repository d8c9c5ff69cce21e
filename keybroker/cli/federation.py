"""`keybroker federation …`: keys of which no value is kept: what a provider has to trust, and one credential on trial."""

from __future__ import annotations

from typing import Any

import click

from keybroker import duration
from keybroker.cli import output
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.cli.times import format_time


@click.group(short_help="Set up keys that providers mint.")
@common_options
def federation() -> None:
    """Keys without a value: the provider trusts the broker's identity, and gives it credentials of minutes.

    Set up a provider, write the ids that it shows into the policy (`federated` of the key), and test it.
    """


@federation.command()
@click.argument("provider")
@click.option("--key", required=True, metavar="NAME", help="The key's name in the policy, which need not be there yet.")
@click.option("--identity", metavar="NAME", help="Who vouches for the broker: aws-sts or broker. [as in a policy]")
@common_options
@pass_settings
def setup(settings: Settings, provider: str, key: str, identity: str | None) -> None:
    """Show what to enter at a provider, exactly, and what to write in the policy then."""
    query = {"provider": provider, "key": key, "identity": identity}
    found = AdminClient(settings.admin_api_url).get("/admin/federation", query)
    if settings.json:
        output.as_json(found)
        return
    shown = {name: found[name] for name in ("issuer", "subject", "audience") if found[name]}
    output.members([*shown.items()])
    if found["identity"] == "broker" and not found["jwks"]["keys"]:
        output.labelled("warning", "the issuer has no keys yet: deploy the minter with keys of its own")
    for number, step in enumerate(found["steps"], 1):
        output.data(f"{number}. {step}")
    output.data("Then, in the policy:")
    output.data(f"  {found['policy']}")
    output.data(f"And: keybroker federation test {key}")


@federation.command()
@click.argument("name")
@common_options
@pass_settings
def test(settings: Settings, name: str) -> None:
    """Mint one credential of a key, show when it would end, and keep nothing of it."""
    found: dict[str, Any] = AdminClient(settings.admin_api_url).call("POST", f"/admin/keys/{segment(name)}/mint").body
    if settings.json:
        output.as_json(found)
        return
    known = f", the provider's request {found['request']}" if found["request"] else ""
    life = duration.words(found["life"])
    output.message(
        f"works: {found['provider']} gave a credential for {name} that ends in {life} ({format_time(found['expires'])}){known}"
    )
