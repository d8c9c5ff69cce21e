"""A secret that is sent to the broker: from a file, from standard input or from a hidden prompt, never an argument."""

from __future__ import annotations

import sys

import click

from keybroker.cli import input_file
from keybroker.cli.command_error import LOCAL, CommandError


def read(file: str | None, asked: str = "New value") -> str:
    """Return it without the line end after it. file: `-` for standard input, None: whichever there is. Raises CommandError."""
    if file is not None:
        value = input_file.read_secret(file)
    elif sys.stdin.isatty():
        value = str(click.prompt(f"{asked} (hidden)", hide_input=True, err=True))
    else:
        value = input_file.read_secret("-")
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise CommandError(LOCAL, "the value is empty")
    return value
