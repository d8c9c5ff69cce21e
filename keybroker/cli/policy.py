"""`keybroker policy …`: files are sent as they are; the broker alone reads them, so that there is one reading."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from keybroker.cli import given_file, output, place
from keybroker.cli.administration import Administration
from keybroker.cli.failure import LOCAL, Failure
from keybroker.cli.place import Place

_FILE = click.argument("file", default="keybroker.yaml")
_ALLOW = click.option("--allow", multiple=True, metavar="RULE", help="A lint rule to pass over; may be repeated.")


@click.group(short_help="Check, plan, apply, explain the policy.")
@place.options
def policy() -> None:
    """Check the policy, plan, put it in force, ask why, ask what if."""


@policy.command(short_help="Say what is wrong with a policy file.")
@_FILE
@_ALLOW
@place.options
@place.passed
def validate(at: Place, file: str, allow: tuple[str, ...]) -> None:
    """Say what is wrong with a policy file: file:line: field: what was found, what is allowed."""
    said = Administration(at.administration).call("POST", "/admin/policy/validate", body=_sent(file, allow)).body
    if at.json:
        output.as_json(said)
    else:
        output.data(f"valid: {said['keys']} keys, {said['issuers']} issuers, {said['grants']} grants")


@policy.command()
@_FILE
@_ALLOW
@place.options
@place.passed
def plan(at: Place, file: str, allow: tuple[str, ...]) -> None:
    """Say what applying it would change."""
    said = Administration(at.administration).call("POST", "/admin/policy/plan", body=_sent(file, allow)).body
    if at.json:
        output.as_json(said)
        return
    output.message(f"against version {said['version']}")
    _changes(said["changes"])


@policy.command(short_help="Put it in force.")
@_FILE
@_ALLOW
@click.option(
    "--version", type=click.IntRange(0), metavar="N", help="Only in place of this version, which was reviewed."
)
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
@place.options
@place.passed
def apply(at: Place, file: str, allow: tuple[str, ...], version: int | None, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Put it in force, in place of the version that it was planned against."""
    there, sent = Administration(at.administration), _sent(file, allow)
    planned = there.call("POST", "/admin/policy/plan", body=sent).body
    expected = planned["version"] if version is None else version
    headers = {"if-match": f'"{expected}"'}
    said = there.call("PUT", "/admin/policy", {"dry_run": dry_run}, sent, headers).body
    if at.json:
        output.as_json(said if dry_run else {**said, "changes": planned["changes"]})
        return
    _changes(planned["changes"])
    if dry_run:
        output.message(f"a dry run: version {expected} stays in force")
    else:
        output.message(f"version {said['version']} is in force")


@policy.command(short_help="Say which grant admits some claims, and why.")
@click.option("--token", "token_file", metavar="FILE", help="A subject token; - for standard input.")
@click.option("--claims", "claims_file", metavar="FILE", help="A JSON object of claims; - for standard input.")
@click.option("--key", metavar="NAME", help="Only grants for this key.")
@place.options
@place.passed
def explain(at: Place, token_file: str | None, claims_file: str | None, key: str | None) -> None:
    """Say which grant admits these claims, and what differs for each that does not."""
    if (token_file is None) == (claims_file is None):
        raise Failure(LOCAL, "say either --token FILE or --claims FILE")
    body: dict[str, Any] = {} if key is None else {"key": key}
    if token_file is not None:
        body["token"] = given_file.text(token_file).strip()
    else:
        body["claims"] = given_file.json_object(str(claims_file))
    said = Administration(at.administration).call("POST", "/admin/policy/explain", body=body).body
    if at.json:
        output.as_json(said)
    else:
        _explained(said)


@policy.command(short_help="Say what it would newly admit or refuse.")
@_FILE
@_ALLOW
@place.options
@place.passed
def replay(at: Place, file: str, allow: tuple[str, ...]) -> None:
    """Say what it would newly admit or refuse of what the audit recorded."""
    said = Administration(at.administration).call("POST", "/admin/policy/replay", body=_sent(file, allow)).body
    if at.json:
        output.as_json(said)
        return
    output.message(f"{said['tried']} recorded identities tried")
    kinds = ("newly_admitted", "newly_refused", "newly_ambiguous")
    found = [(kind.removeprefix("newly_"), one) for kind in kinds for one in said[kind]]
    headings = ("newly", "principal", "key", "before", "after")
    rows = [(kind, one["principal"], one["key"], *(_names(one[when]) for when in headings[3:])) for kind, one in found]
    output.rows(headings, rows, "none of them would be treated in another way")


@policy.command()
@place.options
def schema() -> None:
    """Print the JSON Schema of the policy file, for editors."""
    output.data(files("keybroker.cli").joinpath("policy.schema.json").read_text(encoding="utf-8").rstrip())


def _sent(file: str, allow: tuple[str, ...]) -> dict[str, Any]:
    return {"text": given_file.text(file), "file": Path(file).name if file == "-" else file, "allow": list(allow)}


def _changes(changes: list[dict[str, Any]]) -> None:
    rows = [(one["change"], one["what"], one["name"], _fields(one)) for one in changes]
    output.rows(("change", "what", "name", "fields"), rows, "nothing would change")


def _fields(change: dict[str, Any]) -> str:
    if change["change"] in ("add", "remove"):
        return ""
    return "; ".join(f"{name}: {_value(old)} -> {_value(new)}" for name, (old, new) in change["fields"].items())


def _value(value: Any) -> str:  # noqa: ANN401  of a grant, an issuer or a key, as JSON
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "-"
    if isinstance(value, dict) and value.keys() == {"count", "window"}:
        return f"{value['count']}/{value['window']}"
    return value if isinstance(value, str) else json.dumps(value)


def _explained(said: dict[str, Any]) -> None:
    issuer = said["issuer"] or "not registered"
    members = [("issuer", issuer), ("principal", said["principal"] or "-"), ("admitted by", _names(said["admitted"]))]
    unusable = [("but", said["unusable"])] if said["unusable"] else []
    doubt = [("not verified", said["unverified_because"])] if not said["verified"] else []
    output.members([*members, *unusable, *doubt])
    differing = [(grant, one) for grant in said["grants"] for one in grant["differences"]]
    if differing:
        output.data("")
        headings = ("grant", "key", "claim", "wanted", "found")
        rows = [
            (grant["grant"], grant["key"], ".".join(one["claim"]), _names(one["wanted"]), one["found"])
            for grant, one in differing
        ]
        output.rows(headings, rows)


def _names(names: list[Any]) -> str:
    return ", ".join(map(str, names)) or "-"
