"""The settings that every command has: which broker, and which output. Options override variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from keybroker.cli.command_error import LOCAL, CommandError

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Settings:
    """What the options and variables say.

    url, admin_url: "" if they say nothing. output: table or json. owns_process: whether the command has this process for
    itself, and may start it anew. lines: whether JSON is one document a line, since it is shown again and again.
    """

    url: str = ""
    admin_url: str = ""
    output: str = "table"
    owns_process: bool = False
    lines: bool = False

    @property
    def broker_url(self) -> str:
        """The public broker's URL; raises CommandError if none was given."""
        if not self.url:
            raise CommandError(LOCAL, "no broker URL: pass --url https://… or set KEYBROKER_URL")
        return self.url.rstrip("/")

    @property
    def admin_api_url(self) -> str:
        """The URL that `/admin/…` is under; raises CommandError if none was given."""
        if not (self.admin_url or self.url):
            text = "no administration URL: pass --admin-url https://… or set KEYBROKER_ADMIN_URL"
            raise CommandError(LOCAL, text)
        return (self.admin_url or self.url).rstrip("/")

    @property
    def json(self) -> bool:
        """Whether the output is JSON."""
        return self.output == "json"


pass_settings = click.make_pass_decorator(Settings, ensure=True)
"""Gives a command its Settings."""


def common_options(command: _Command) -> _Command:
    """Add the options that may stand anywhere on the command line; the rightmost one wins."""
    formats = click.Choice(["table", "json"])
    text = "Output format. [KEYBROKER_OUTPUT]"
    return click.option("--output", type=formats, help=text, expose_value=False, callback=_store, is_eager=True)(
        url_options(command)
    )


def url_options(command: _Command) -> _Command:
    """Add those of `common_options` that say which broker."""
    for name, variable, text in (
        ("--admin-url", "KEYBROKER_ADMIN_URL", "URL of the administration API, if it differs from --url."),
        ("--url", "KEYBROKER_URL", "URL of the broker."),
    ):
        command = click.option(
            name, metavar="URL", help=f"{text} [{variable}]", expose_value=False, callback=_store, is_eager=True
        )(command)
    return command


def grant_options(command: _Command) -> _Command:
    """Add the options that choose the grant, and narrow it."""
    for name, metavar, text in (
        ("--scope", "SCOPE", "METHOD:/path values separated by spaces, to get less than the grant allows."),
        ("--grant", "NAME", "The grant to use, if several match."),
    ):
        command = click.option(name, metavar=metavar, help=text)(command)
    return command


def key_option(command: _Command) -> _Command:
    """Add the option that names one key."""
    text = "The key's name in the broker's policy, e.g. openai. [KEYBROKER_KEY]"
    return click.option("--key", envvar="KEYBROKER_KEY", required=True, metavar="NAME", help=text)(command)


def keys_option(command: _Command) -> _Command:
    """Add the option that names one or more keys."""
    text = "The key's name in the broker's policy; may be repeated. [KEYBROKER_KEY]"
    return click.option(
        "--key", "keys", multiple=True, required=True, metavar="NAME", envvar="KEYBROKER_KEY", help=text
    )(command)


def dry_run_option(text: str = "Check everything, change nothing.") -> Callable[[_Command], _Command]:
    """Return what adds --dry-run. text: its help."""
    return click.option("--dry-run", is_flag=True, help=text)


def _store(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        setattr(context.ensure_object(Settings), str(parameter.name), value)
