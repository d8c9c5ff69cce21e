"""`keybroker setup …`: prints, or writes, what makes a tool or a CI use Keybroker."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keybroker.cli import output, place, settings_file
from keybroker.cli.failure import LOCAL, Failure
from keybroker.cli.place import Place
from keybroker.errors import IdentityError, NoIdentity
from keybroker.token_provider import TokenProvider

_REFRESH = 300_000
"""Milliseconds that a tool may keep a token: less than the shortest that one lives by default."""
_PATIENCE = 5_000
"""Milliseconds that Codex waits for the command, at most."""
_GITHUB = """\
# One job that calls {key} without holding its key. The broker decides by the job's identity (docs/grants.md).
name: keybroker
on: [push]
permissions:
  id-token: write # the job may ask GitHub for an identity token
  contents: read
jobs:
  call:
    runs-on: ubuntu-latest
    steps:
      - run: pip install 'keybroker[cli]'
      - run: keybroker exec --key {key} -- {program}
        env:
          KEYBROKER_URL: {url}
"""
_GITLAB = """\
# One job that calls {key} without holding its key. The broker decides by the job's identity (docs/grants.md).
call:
  image: python:3
  id_tokens:
    KEYBROKER_ID_TOKEN:
      aud: keybroker
  variables:
    KEYBROKER_URL: {url}
  script:
    - pip install 'keybroker[cli]'
    - keybroker exec --key {key} -- {program}
"""


@click.group(short_help="Make a tool or a CI use Keybroker.")
@place.options
def setup() -> None:
    """Make a tool or a CI use Keybroker: prints what it takes, --write writes it."""


def _options(key: str, file: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            place.passed,
            place.options,
            click.option("--file", default=file, metavar="FILE", show_default=True, help="What --write writes."),
            click.option("--write", is_flag=True, help="Write it; what else is in the file stays."),
            click.option("--key", default=key, metavar="NAME", show_default=True, help="The key's name in the policy."),
        ):
            command = option(command)
        return command

    return add


_base_url = click.option("--base-url", metavar="URL", help="The edge's address for the key. [a token's answer has it]")


@setup.command("claude-code")
@_options("anthropic", "$CLAUDE_CONFIG_DIR/settings.json")
@_base_url
def claude_code(at: Place, key: str, file: str, base_url: str | None, write: bool) -> None:  # noqa: FBT001  a flag
    """Claude Code: an apiKeyHelper and the edge's address in its settings."""
    variables = {
        "ANTHROPIC_BASE_URL": base_url or _asked(at, key),
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS": str(_REFRESH),
    }
    settings = {"apiKeyHelper": shlex.join(["keybroker", *_token(at, key)]), "env": variables}
    if not write:
        output.as_json(settings)
        return
    path = _path(file, "CLAUDE_CONFIG_DIR", ".claude")
    _write(path, settings_file.json_with(settings_file.read(path), settings, str(path)))


@setup.command()
@_options("openai", "$CODEX_HOME/config.toml")
@_base_url
def codex(at: Place, key: str, file: str, base_url: str | None, write: bool) -> None:  # noqa: FBT001  a flag
    """Codex: a model provider with an auth command in its configuration."""
    top = 'model_provider = "keybroker"'
    tables = "\n".join(
        (
            "[model_providers.keybroker]",
            'name = "Keybroker"',
            f"base_url = {json.dumps(base_url or _asked(at, key))}",
            'wire_api = "responses"',
            "",
            "[model_providers.keybroker.auth]",
            'command = "keybroker"',
            f"args = {json.dumps(_token(at, key))}",
            f"timeout_ms = {_PATIENCE}",
            f"refresh_interval_ms = {_REFRESH}",
            "",
        )
    )
    if not write:
        output.data(f"{top}\n\n{tables}".rstrip())
        return
    path = _path(file, "CODEX_HOME", ".codex")
    _write(path, settings_file.toml_with(settings_file.read(path), top, tables, str(path)))


@setup.command()
@_options("openai", ".github/workflows/keybroker.yml")
def github(at: Place, key: str, file: str, write: bool) -> None:  # noqa: FBT001  a flag
    """GitHub Actions: a workflow whose job may ask for an identity token."""
    _new_file(_GITHUB.format(key=key, url=json.dumps(at.broker), program="python job.py"), Path(file), write=write)


@setup.command()
@_options("openai", "keybroker.gitlab-ci.yml")
def gitlab(at: Place, key: str, file: str, write: bool) -> None:  # noqa: FBT001  a flag
    """GitLab CI: a job with an identity token, to be included by .gitlab-ci.yml."""
    _new_file(_GITLAB.format(key=key, url=json.dumps(at.broker), program="python job.py"), Path(file), write=write)


def _token(at: Place, key: str) -> list[str]:
    return ["token", "--key", key, "--url", at.broker]


def _asked(at: Place, key: str) -> str:
    provider = TokenProvider(key, at.broker)
    try:
        with output.waiting(f"waiting for {at.broker}"):
            found = provider.base_url
            provider.revoke()
    except (NoIdentity, IdentityError) as fault:
        why = str(fault).splitlines()[0].partition(";")[0]
        raise Failure(LOCAL, f"the edge's address is not known: {why}", "say --base-url") from None
    return found


def _path(file: str, variable: str, usual: str) -> Path:
    folder = os.environ.get(variable) or str(Path.home() / usual)
    return Path(file.replace(f"${variable}", folder))


def _write(path: Path, text: str) -> None:
    if settings_file.read(path) == text:
        output.message(f"{path}: nothing to do")
        return
    settings_file.write(path, text)
    output.message(f"{path}: written")


def _new_file(text: str, path: Path, *, write: bool) -> None:
    if not write:
        output.data(text.rstrip())
        return
    if settings_file.read(path) not in ("", text):
        raise Failure(LOCAL, f"{path}: is there already, with something else in it", "say --file FILE")
    _write(path, text)
