"""`keybroker keys list --orphans`: keys at providers that the broker made, and that nobody uses."""

from __future__ import annotations

from typing import Any

from keybroker.cli import output, shortened
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import DONE, REMOTE, CommandError
from keybroker.cli.key_pages import page


def show(client: AdminClient, *, as_json: bool) -> int:
    """Ask the provider of each key that is replaced by its API; show what nobody uses; return the exit code."""
    found, code = list[dict[str, Any]](), DONE
    keys = [one for one in client.get("/admin/keys")["items"] if one.get("rotates") == "by_api"]
    for key in keys:
        try:
            items = client.get(f"/admin/keys/{segment(key['name'])}/provider-keys")["items"]
        except CommandError as error:
            output.labelled("warning", f"{key['name']}: {error.lines[0]}")
            code = REMOTE
            continue
        found += [{"key": key["name"], "provider": key["provider"], **one} for one in items if one["use"] == "orphan"]
    if as_json:
        output.as_json(found)
        return code
    rows = [(one["key"], one["id"], one["name"], shortened.age(one["created"])) for one in found]
    output.rows(("key", "id", "named", "made"), rows, none="none" if keys else "none: no key is replaced by an API")
    for provider in sorted({one["provider"] for one in found}):
        output.message(f"nobody uses these: delete them by id at {page(provider)}")
    return code
