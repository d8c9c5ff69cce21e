"""Where a command turns to, and how it answers: the options that every command has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from keybroker.cli.failure import LOCAL, Failure

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Place:
    """What the options and variables said. url, admin_url: "" if they said nothing."""

    url: str = ""
    admin_url: str = ""
    output: str = "table"

    @property
    def broker(self) -> str:
        """The public broker's URL; raises Failure if none was given."""
        if not self.url:
            raise Failure(LOCAL, "no broker: say --url https://… or set KEYBROKER_URL")
        return self.url.rstrip("/")

    @property
    def administration(self) -> str:
        """The URL that `/admin/…` is under; raises Failure if none was given."""
        if not (self.admin_url or self.url):
            raise Failure(LOCAL, "no administration: say --admin-url https://… or set KEYBROKER_ADMIN_URL")
        return (self.admin_url or self.url).rstrip("/")

    @property
    def json(self) -> bool:
        """Whether the answer is for programs."""
        return self.output == "json"


passed = click.make_pass_decorator(Place, ensure=True)
"""Gives a command its Place."""


def options(command: _Command) -> _Command:
    """Add the options that may stand anywhere on the command line; the one furthest right wins."""
    for names, variable, text in (
        (("--admin-url",), "KEYBROKER_ADMIN_URL", "The administration, if it is not at the broker's URL."),
        (("--url",), "KEYBROKER_URL", "The broker."),
    ):
        command = click.option(
            *names, metavar="URL", help=f"{text} [{variable}]", expose_value=False, callback=_note, is_eager=True
        )(command)
    kinds = click.Choice(["table", "json"])
    text = "For people or for programs. [KEYBROKER_OUTPUT]"
    return click.option("--output", type=kinds, help=text, expose_value=False, callback=_note, is_eager=True)(command)


def key_options(command: _Command) -> _Command:
    """Add the options that say which token is wanted."""
    for name, metavar, text in (
        ("--scope", "SCOPE", "METHOD:/path values with spaces between, to get less than the grant allows."),
        ("--grant", "NAME", "The grant, where several match."),
    ):
        command = click.option(name, metavar=metavar, help=text)(command)
    text = "The key's name in the broker's policy, e.g. openai. [KEYBROKER_KEY]"
    return click.option("--key", envvar="KEYBROKER_KEY", required=True, metavar="NAME", help=text)(command)


def _note(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        setattr(context.ensure_object(Place), str(parameter.name), value)
