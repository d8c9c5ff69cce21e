"""`keybroker serve`, `init`, `admins`, `state`, `gateway`, `audit export|cut`: the server of the same installation, in place of this process."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keybroker.cli.command_error import LOCAL, CommandError

NEEDED: dict[str, str] = {
    "aiohttp": "aiohttp>=3.14,<4",
    "aws_lambda_powertools": "aws-lambda-powertools>=3.37,<4",
    "boto3": "boto3>=1.44,<2",
    "chalice": "chalice>=1.34,<2",
    "cryptography": "pyjwt[crypto]>=2.15.1,<3",
    "jwt": "pyjwt[crypto]>=2.15.1,<3",
    "msgspec": "msgspec>=0.22,<0.23",
    "prometheus_client": "prometheus-client>=0.26,<1",
    "urllib3": "urllib3>=2.8,<3",
    "yaml": "pyyaml>=6.0.3,<7",
}
"""What the server imports, and the requirement of the extra `server` that brings it."""
_PACKAGE = Path(__file__).resolve().parents[1]
PLAIN: dict[str, Any] = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}
"""Everything behind the command's name is the server's, also --help."""


def _command(name: str, text: str) -> click.Command:
    @click.command(name, context_settings=PLAIN, short_help=text, help=text)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> None:
        start(name, arguments)

    return run


def start(name: str, arguments: tuple[str, ...], execute: Callable[..., object] = os.execve) -> None:
    """Become the server: `python -m local` with these arguments; raises CommandError where a package is missing."""
    missing = sorted({NEEDED[module] for module in NEEDED if importlib.util.find_spec(module) is None})
    if missing:
        wanted = " ".join(f"'{one}'" for one in missing)
        raise CommandError(LOCAL, f"the server needs more packages: pip install {wanted}")
    # SECURITY: -P, or a `local` in the directory where the command is run would be the server
    # (test_the_working_directory_is_no_server).
    command = [sys.executable, "-P", "-m", "local", "--installed", name, *arguments]
    above = os.environ.get("PYTHONPATH")
    path = f"{directory()}{os.pathsep}{above}" if above else str(directory())
    sys.stdout.flush()
    execute(sys.executable, command, {**os.environ, "PYTHONPATH": path})


def directory() -> Path:
    """Return what holds the server: a part of the wheel that is no package, or the checkout of an editable installation."""
    shipped = _PACKAGE / "_server"
    return shipped if shipped.is_dir() else _PACKAGE.parent


serve = _command("serve", "Run Keybroker on this machine.")
init = _command("init", "Make what `serve` needs.")
gateway = _command("gateway", "Run the edge over a deployed stage's tables.")
state = _command("state", "Back up, restore, check, seal a state directory.")
admins = _command("admins", "Add, list or remove administrators.")
