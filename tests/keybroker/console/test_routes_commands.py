"""The commands beside the actions: what is copied there is what the command line takes."""

from __future__ import annotations

import html
import re
import shlex
from urllib.parse import quote

import click
import pytest

from keybroker.cli.program import root
from tests.keybroker.console.browser import Browser
from tests.running import Running

_COPIED = re.compile(r'data-copy="(keybroker [^"]*)"')
PAGES = (
    "/",
    "/principals",
    "/grants",
    "/keys",
    "/keys/action?name=openai&action=rotate",
    "/keys/action?name=openai&action=rollback",
    "/keys/done?name=openai&action=rollback",
    "/audit?kind=token.issued&request_id=x",
    "/policy",
    "/revoke?scope=everything",
    "/revoke?scope=grant&id=small",
    "/revoke?scope=key&id=anthropic",
    "/revoke?scope=token&id=x",
)


def copied(browser: Browser, path: str) -> list[str]:
    """Return the commands of a page."""
    return [html.unescape(one) for one in _COPIED.findall(browser.get(path).body)]


def parse(command: str) -> None:
    """Parse a command as the command line does, without running it; raises click.ClickException."""
    found: click.Command = root
    context, arguments = None, shlex.split(command)[1:]
    while True:
        context = found.make_context(found.name, arguments, parent=context)
        # click has no other way to look at what is left for the command below.
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not isinstance(found, click.Group) or (found.invoke_without_command and not rest):
            return
        _, below, arguments = found.resolve_command(context, rest)
        assert below is not None
        found = below


def test_every_copied_command_is_one(running: Running, browser: Browser) -> None:
    """The command line takes every command that a page has copied, with its options and arguments."""
    running.token("9721")
    sub = quote(running.sub("9721"), safe="")
    running.revoke("principal", running.sub("9722"))
    frozen = running.revoke("key", "anthropic")
    one_of_many = f"/principal?id={quote(running.sub('9722'), safe='')}"
    pages = (*PAGES, f"/principal?id={sub}", one_of_many, f"/revoke?scope=principal&id={sub}")
    commands = {one for page in pages for one in copied(browser, page)}
    running.administer("DELETE", f"/admin/revocations/{frozen}")
    for one in sorted(commands):
        parse(one)
    assert f"keybroker restore {frozen}" in commands
    assert "keybroker revoke key openai --reason REASON" in commands
    assert "keybroker revoke grant small --reason REASON" in commands
    with pytest.raises(click.ClickException):
        parse("keybroker usage --watch")
