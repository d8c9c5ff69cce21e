"""`keybroker revocations` and `restore`: what was taken back, and ending it."""

from __future__ import annotations

import click

from keybroker.cli import output, place, when
from keybroker.cli.administration import Administration, segment
from keybroker.cli.place import Place

_SCOPES = ["everything", "issuer", "key", "grant", "principal", "token"]


@click.command(short_help="List what is taken back.")
@click.option(
    "--scope", type=click.Choice(_SCOPES), help="Only of this scope; single tokens are listed in no other way."
)
@click.option("--all", "ended", is_flag=True, help="Those that have ended, too.")
@place.options
@place.passed
def revocations(at: Place, scope: str | None, ended: bool) -> None:  # noqa: FBT001  a flag
    """List what is taken back, newest first."""
    query = {"scope": scope, "in_force": not ended}
    found = list(Administration(at.administration).items("/admin/revocations", query))
    if at.json:
        output.as_json(found)
        return
    headings = ("id", "scope", "target", "at", "until", "in force", "reason", "author")
    rows = [
        (
            *(one[name] for name in headings[:3]),
            when.shown(one["at"]),
            when.shown(one["until"]) or "-",
            "yes" if one["in_force"] else "no",
            one["reason"],
            one["author"],
        )
        for one in found
    ]
    output.rows(headings, rows)


@click.command(short_help="End a revocation.")
@click.argument("revocation", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Say what it would do; change nothing.")
@place.options
@place.passed
def restore(at: Place, revocation: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """End a revocation: new tokens are issued again; those from before stay dead."""
    path = f"/admin/revocations/{segment(revocation)}"
    said = Administration(at.administration).call("DELETE", path, {"dry_run": dry_run}).body
    if at.json:
        output.as_json(said)
    elif dry_run:
        still = "; another revocation would still block it" if said["still_blocked"] else ""
        output.message(f"a dry run: {said['scope']} {said['target']} would be restored{still}; nothing was changed")
    else:
        output.message(f"restored: {said['scope']} {said['target']}; tokens from before stay dead")
