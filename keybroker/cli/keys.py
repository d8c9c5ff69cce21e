"""`keybroker keys …`: the providers' keys. Their values go in and never come out."""

from __future__ import annotations

import sys

import click

from keybroker.cli import given_file, output, place, when
from keybroker.cli.administration import Administration, segment
from keybroker.cli.failure import LOCAL, Failure
from keybroker.cli.place import Place


@click.group(short_help="List the keys; set one.")
@place.options
def keys() -> None:
    """List the policy's keys, and give one a new value."""


@keys.command("list")
@place.options
@place.passed
def list_keys(at: Place) -> None:
    """List the keys: where they go and who set them, never their values."""
    found = list(Administration(at.administration).get("/admin/keys")["items"])
    if at.json:
        output.as_json(found)
        return
    headings = ("name", "provider", "version", "origin", "header", "author", "at")
    rows = [(*(one[name] or "-" for name in headings[:-1]), when.shown(one["at"]) or "never set") for one in found]
    output.rows(headings, rows)


@keys.command("set")
@click.argument("name")
@click.option("--file", metavar="FILE", help="Where the value is (mode 600); - for standard input. [asked for, hidden]")
@click.option("--origin", metavar="URL", help="Where it may go. [the provider's own]")
@click.option("--header", metavar="NAME", help="What it is sent as. [the provider's own]")
@click.option("--prefix", metavar="TEXT", help="What stands before it in the header. [the provider's own]")
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
@place.options
@place.passed
def set_key(at: Place, /, name: str, file: str | None, dry_run: bool, **where: str | None) -> None:  # noqa: FBT001  a flag
    """Give a key a new value; it is in force from the next call on.

    The value comes from a file, from standard input or from a hidden prompt, never from the command line, which other
    users of the machine can read.
    """
    body = {"value": _value(file), **{part: one for part, one in where.items() if one is not None}}
    said = (
        Administration(at.administration).call("PUT", f"/admin/keys/{segment(name)}", {"dry_run": dry_run}, body).body
    )
    if at.json:
        output.as_json(said)
    elif dry_run:
        output.message(f"a dry run: {name} would be sent to {said['origin']} as {said['header']}; nothing was changed")
    else:
        output.message(f"in force: {name} version {said['version']}, sent to {said['origin']} as {said['header']}")


def _value(file: str | None) -> str:
    if file is not None:
        value = given_file.secret(file)
    elif sys.stdin.isatty():
        value = str(click.prompt("New value (hidden)", hide_input=True, err=True))
    else:
        value = given_file.secret("-")
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise Failure(LOCAL, "the value is empty")
    return value
