"""`keybroker setup …`: prints or writes the configuration that makes a tool or CI use Keybroker."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keybroker.cli import ci_workflow, output, tool_config
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.settings import Settings, common_options, pass_settings
from keybroker.errors import IdentityError, NoIdentity
from keybroker.token_provider import TokenProvider

_REFRESH_MS = 300_000
"""Milliseconds that a tool may keep a token: the shortest lifetime of a token."""
_TIMEOUT_MS = 5_000
"""Milliseconds that Codex waits for the command unless told otherwise. It then kills it, and no reason is shown."""
_GIVE_UP = ["--timeout", "4"]
"""So that the command says by itself, and before that, why there is no token."""


@click.group(short_help="Configure a tool or CI to use Keybroker.")
@common_options
def setup() -> None:
    """Configure a tool or CI to use Keybroker: prints the configuration, --write writes it."""


def _options(key: str, file: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            pass_settings,
            common_options,
            click.option(
                "--file", default=file, metavar="FILE", show_default=True, help="The file that --write writes."
            ),
            click.option("--write", is_flag=True, help="Write the file; its other content is kept."),
            click.option("--key", default=key, metavar="NAME", show_default=True, help="The key's name in the policy."),
        ):
            command = option(command)
        return command

    return add


_base_url = click.option("--base-url", metavar="URL", help="The edge's URL for the key. [from a token response]")


@setup.command("claude-code")
@_options("anthropic", "$CLAUDE_CONFIG_DIR/settings.json")
@_base_url
def claude_code(settings: Settings, key: str, file: str, base_url: str | None, write: bool) -> None:  # noqa: FBT001  a flag
    """Claude Code: an apiKeyHelper and the edge's URL in its settings."""
    variables = {
        "ANTHROPIC_BASE_URL": base_url or _discover_base_url(settings, key),
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS": str(_REFRESH_MS),
    }
    wanted = {"apiKeyHelper": shlex.join(["keybroker", *_token_arguments(settings, key)]), "env": variables}
    if not write:
        output.as_json(wanted)
        return
    path = _path(file, "CLAUDE_CONFIG_DIR", ".claude")
    _write(path, tool_config.merge_json(tool_config.read(path), wanted, str(path)))


@setup.command()
@_options("openai", "$CODEX_HOME/config.toml")
@_base_url
def codex(settings: Settings, key: str, file: str, base_url: str | None, write: bool) -> None:  # noqa: FBT001  a flag
    """Codex: a model provider with an auth command in its configuration."""
    top = 'model_provider = "keybroker"'
    tables = "\n".join(
        (
            "[model_providers.keybroker]",
            'name = "Keybroker"',
            f"base_url = {json.dumps(base_url or _discover_base_url(settings, key))}",
            'wire_api = "responses"',
            "",
            "[model_providers.keybroker.auth]",
            'command = "keybroker"',
            f"args = {json.dumps([*_token_arguments(settings, key), *_GIVE_UP])}",
            f"timeout_ms = {_TIMEOUT_MS}",
            f"refresh_interval_ms = {_REFRESH_MS}",
            "",
        )
    )
    if not write:
        output.data(f"{top}\n\n{tables}".rstrip())
        return
    path = _path(file, "CODEX_HOME", ".codex")
    _write(path, tool_config.merge_toml(tool_config.read(path), top, tables, str(path)))


@setup.command()
@_options("openai", ".github/workflows/keybroker.yml")
@click.option("--action", metavar="OWNER/NAME@COMMIT", help="The repository with the Action, pinned to a commit.")
def github(settings: Settings, key: str, file: str, write: bool, action: str | None) -> None:  # noqa: FBT001  a flag
    """GitHub Actions: a workflow whose job checks out, gets a token by the Action, and runs a program."""
    text = ci_workflow.github(key, settings.broker_url, action or ci_workflow.NO_ACTION)
    _new_file(text, Path(file), write=write)
    if action is None:
        output.message(f"fill in {ci_workflow.NO_ACTION}: your copy of Keybroker's repository, or pass --action")


@setup.command()
@_options("openai", "keybroker.gitlab-ci.yml")
@click.option("--source", metavar="URL", help="Where pip gets Keybroker: git+https://… or a wheel, pinned.")
def gitlab(settings: Settings, key: str, file: str, write: bool, source: str | None) -> None:  # noqa: FBT001  a flag
    """GitLab CI: a job with an identity token, for .gitlab-ci.yml to include."""
    text = ci_workflow.gitlab(key, settings.broker_url, source or ci_workflow.NO_SOURCE)
    _new_file(text, Path(file), write=write)
    if source is None:
        output.message(f"fill in {ci_workflow.NO_SOURCE}: your copy of Keybroker, or pass --source")


def _token_arguments(settings: Settings, key: str) -> list[str]:
    return ["token", "--key", key, "--url", settings.broker_url]


def _discover_base_url(settings: Settings, key: str) -> str:
    provider = TokenProvider(key, settings.broker_url)
    try:
        with output.waiting(f"waiting for {settings.broker_url}"):
            base_url = provider.base_url
            provider.revoke()
    except (NoIdentity, IdentityError) as error:
        reason = str(error).splitlines()[0].partition(";")[0]
        raise CommandError(LOCAL, f"the edge's URL is unknown: {reason}", "pass --base-url") from None
    return base_url


def _path(file: str, variable: str, default: str) -> Path:
    folder = os.environ.get(variable) or str(Path.home() / default)
    return Path(file.replace(f"${variable}", folder))


def _write(path: Path, text: str) -> None:
    if tool_config.read(path) == text:
        output.message(f"{path}: already up to date")
        return
    tool_config.write(path, text)
    output.message(f"{path}: written")


def _new_file(text: str, path: Path, *, write: bool) -> None:
    if not write:
        output.data(text.rstrip())
        return
    if tool_config.read(path) not in ("", text):
        raise CommandError(LOCAL, f"{path}: already exists with other content", "pass --file FILE to write elsewhere")
    _write(path, text)
