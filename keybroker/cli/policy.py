"""`keybroker policy …`: sends policy files as they are; only the broker parses them, so that there is one reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import click

from keybroker.cli import input_file, output
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.policy_history import AT, VERSION, history, of_policy, show
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings

_FILE = click.argument("file", default="keybroker.yaml")
_ALLOW = click.option("--allow", multiple=True, metavar="RULE", help="A lint rule to ignore; may be repeated.")


@click.group(short_help="Validate, plan, apply or explain the policy.")
@common_options
def policy() -> None:
    """Validate, plan and apply the policy; explain and replay its decisions."""


@policy.command(short_help="Report errors in a policy file.")
@_FILE
@_ALLOW
@common_options
@pass_settings
def validate(settings: Settings, file: str, allow: tuple[str, ...]) -> None:
    """Report errors in a policy file as file:line: field: what was found, what is allowed."""
    result = _post(settings, "validate", _upload(file, allow))
    if settings.json:
        output.as_json(result)
    else:
        output.data(f"valid: {result['keys']} keys, {result['issuers']} issuers, {result['grants']} grants")


@policy.command()
@_FILE
@_ALLOW
@common_options
@pass_settings
def plan(settings: Settings, file: str, allow: tuple[str, ...]) -> None:
    """Show what applying the file would change."""
    result = _post(settings, "plan", _upload(file, allow))
    if settings.json:
        output.as_json(result)
        return
    output.message(f"compared with version {result['version']}")
    _show_changes(result["changes"])


@policy.command(short_help="Apply a policy file.")
@_FILE
@_ALLOW
@click.option(
    "--version", type=click.IntRange(0), metavar="N", help="Replace only this version, the one that was reviewed."
)
@dry_run_option()
@common_options
@pass_settings
def apply(settings: Settings, file: str, allow: tuple[str, ...], version: int | None, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Apply a policy file, replacing the version that it was compared with."""
    upload = _upload(file, allow)
    planned = _post(settings, "plan", upload)
    expected = planned["version"] if version is None else version
    headers = {"if-match": f'"{expected}"'}
    client = AdminClient(settings.admin_api_url)
    result = client.call("PUT", "/admin/policy", {"dry_run": dry_run}, upload, headers).body
    if settings.json:
        output.as_json(result if dry_run else {**result, "changes": planned["changes"]})
        return
    _show_changes(planned["changes"])
    if dry_run:
        output.message(f"dry run: version {expected} stays in force")
    else:
        output.message(f"version {result['version']} is in force")


@policy.command(short_help="Show which grant admits given claims, and why.")
@click.option("--token", "token_file", metavar="FILE", help="File with a subject token; - for standard input.")
@click.option(
    "--claims", "claims_file", metavar="FILE", help="File with a JSON object of claims; - for standard input."
)
@click.option("--key", metavar="NAME", help="Only grants for this key.")
@AT
@VERSION
@common_options
@pass_settings
def explain(  # noqa: PLR0913, PLR0917  an option each
    settings: Settings,
    token_file: str | None,
    claims_file: str | None,
    key: str | None,
    moment: int | None,
    version: int | None,
) -> None:
    """Show which grant admits these claims, and what differs for each that does not."""
    if (token_file is None) == (claims_file is None):
        raise CommandError(LOCAL, "pass either --token FILE or --claims FILE")
    body: dict[str, Any] = {} if key is None else {"key": key}
    if token_file is not None:
        body["token"] = input_file.read_text(token_file).strip()
    else:
        body["claims"] = input_file.read_json_object(str(claims_file))
    result = _post(settings, "explain", body, of_policy(moment, version))
    if settings.json:
        output.as_json(result)
    else:
        _show_explanation(result)


@policy.command(short_help="Show whom it would newly admit or refuse.")
@_FILE
@_ALLOW
@common_options
@pass_settings
def replay(settings: Settings, file: str, allow: tuple[str, ...]) -> None:
    """Show which recorded identities a policy file would newly admit or refuse."""
    result = _post(settings, "replay", _upload(file, allow))
    if settings.json:
        output.as_json(result)
        return
    whole = "" if result.get("complete") else "; there are more than were read, so others may be affected"
    output.message(f"{result['tried']} recorded identities tried{whole}")
    kinds = ("newly_admitted", "newly_refused", "newly_ambiguous")
    found = [(kind.removeprefix("newly_"), row) for kind in kinds for row in result[kind]]
    headings = ("newly", "principal", "key", "before", "after")
    rows = [(kind, row["principal"], row["key"], *(_names(row[when]) for when in headings[3:])) for kind, row in found]
    output.rows(headings, rows, "no decision would change")


@policy.command()
@common_options
def schema() -> None:
    """Print the JSON Schema of the policy file, for editors."""
    output.as_json(json.loads(files("keybroker.cli").joinpath("policy.schema.json").read_text(encoding="utf-8")))


policy.add_command(history)
policy.add_command(show)


def _post(settings: Settings, verb: str, body: dict[str, Any], query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  any JSON
    return AdminClient(settings.admin_api_url).call("POST", f"/admin/policy/{verb}", query, body).body


def _upload(file: str, allow: tuple[str, ...]) -> dict[str, Any]:
    return {"text": input_file.read_text(file), "file": file, "allow": list(allow)}


def _show_changes(changes: list[dict[str, Any]]) -> None:
    rows = [(change["change"], change["what"], change["name"], _fields(change)) for change in changes]
    output.rows(("change", "what", "name", "fields"), rows, "no changes")
    ending = ", ".join(f"{change['what']} {change['name']}" for change in changes if change.get("ends_tokens"))
    if ending:
        output.message(f"ends the tokens issued so far: {ending}; callers that are still admitted get a fresh one")


def _fields(change: dict[str, Any]) -> str:
    if change["change"] in ("add", "remove"):
        return ""
    return "; ".join(f"{name}: {_value(old)} -> {_value(new)}" for name, (old, new) in change["fields"].items())


def _value(value: Any) -> str:  # noqa: ANN401  a field of a grant, an issuer or a key, as JSON
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "-"
    if isinstance(value, dict) and value.keys() == {"count", "window"}:
        return f"{value['count']}/{value['window']}"
    return value if isinstance(value, str) else json.dumps(value)


def _show_explanation(result: dict[str, Any]) -> None:
    issuer = result["issuer"] or "not registered"
    members = [
        ("issuer", issuer),
        ("principal", result["principal"] or "-"),
        ("admitted by", _names(result["admitted"])),
    ]
    unusable = [("unusable", result["unusable"])] if result["unusable"] else []
    because = ": ".join(filter(None, (result["unverified_because"], result.get("cause"))))
    unverified = [("not verified", because)] if not result["verified"] else []
    output.members([*members, *unusable, *unverified])
    differing = [(grant, difference) for grant in result["grants"] for difference in grant["differences"]]
    if differing:
        output.data("")
        headings = ("grant", "key", "claim", "expected", "found")
        rows = [
            (grant["grant"], grant["key"], ".".join(one["claim"]), _names(map(_accepted, one["wanted"])), _found(one))
            for grant, one in differing
        ]
        output.rows(headings, rows)


def _accepted(value: Any) -> str:  # noqa: ANN401  a value of a claim, or {"contains": value}
    return f"contains {value['contains']}" if isinstance(value, dict) else str(value)


def _found(difference: dict[str, Any]) -> object:
    hint = difference.get("hint")  # brokers before it say none
    return f"{difference['found']} ({hint})" if hint else difference["found"]


def _names(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names)) or "-"
