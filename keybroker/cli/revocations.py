"""`keybroker revocations` and `keybroker restore`: lists revocations, and restores what one blocked."""

from __future__ import annotations

import click

from keybroker.cli import output, shortened
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.id_command import IdCommand
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings
from keybroker.cli.shortened import Shortened
from keybroker.cli.shown_id import whole
from keybroker.cli.times import format_time
from keybroker.cli.watching import shown, watch_option

_SCOPES = ["everything", "issuer", "key", "grant", "principal", "token"]


@click.command(short_help="List revocations.")
@click.option(
    "--scope", type=click.Choice(_SCOPES), help="Only this scope; single tokens are listed only with --scope token."
)
@click.option("--all", "ended", is_flag=True, help="Include those that are no longer in force.")
@watch_option
@common_options
@pass_settings
def revocations(settings: Settings, scope: str | None, ended: bool, watch: int | None) -> None:  # noqa: FBT001  a flag
    """List revocations, newest first."""
    client = AdminClient(settings.admin_api_url)
    shown(settings, watch, lambda: _show(client, settings, {"scope": scope, "in_force": not ended}))


def _show(client: AdminClient, settings: Settings, query: dict[str, object]) -> None:
    found = list(client.items("/admin/revocations", query))
    if settings.json:
        output.as_json(found, line=settings.lines)
        return
    ids = shortened.principals({one["target"] for one in found if one["scope"] == "principal"})
    headings = ("scope", "target", "reason", "author", "at", "until", "in force", "id")
    rows = [
        (
            revocation["scope"],
            ids.get(revocation["target"], revocation["target"]),
            revocation["reason"],
            Shortened(revocation["author"], revocation["author"].rpartition("/")[2]),
            shortened.age(revocation["at"]),
            format_time(revocation["until"]) or "-",
            "yes" if revocation["in_force"] else "no",
            revocation["id"],
        )
        for revocation in found
    ]
    output.rows(headings, rows)


@click.command(short_help="Restore what was revoked.", cls=IdCommand)
@click.argument("revocation", metavar="ID")
@dry_run_option("Show what it would do; change nothing.")
@common_options
@pass_settings
def restore(settings: Settings, revocation: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Restore what was revoked: tokens can be issued again; those from before stay invalid."""
    client = AdminClient(settings.admin_api_url)
    meant = whole(client, revocation, "/admin/revocations", {"in_force": True}, "id")
    path = f"/admin/revocations/{segment(meant)}"
    result = client.call("DELETE", path, {"dry_run": dry_run}).body
    target = f"{result['scope']} {result['target']}"
    if settings.json:
        output.as_json(result)
    elif dry_run:
        still = "; another revocation would still block it" if result["still_blocked"] else ""
        before = f"was restored at {format_time(result['lifted_at'])}" if result["lifted_at"] else "would be restored"
        output.message(f"dry run: {target} {before}{still}; nothing was changed")
    elif result.get("already_restored"):
        still = "; another revocation still blocks it" if result["still_blocked"] else ""
        at = format_time(result["lifted_at"])
        output.message(f"nothing to restore: {target} was restored at {at} by {result['lifted_by']}{still}")
    elif result.get("still_blocked"):
        output.message(f"ended this revocation of {target}, but another one still blocks it: keybroker revocations")
    else:
        output.message(f"restored: {target}; tokens from before stay invalid")
