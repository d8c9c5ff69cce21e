"""The interface to GitHub's runner: commands on stdout, and files that it reads after the step.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def given(name: str) -> str:
    """Return an input of the action, or "" if it is not set."""
    return os.environ.get(f"INPUT_{name.upper()}", "").strip()


def mask(secret: str) -> None:
    """Make the runner replace a text with *** in everything that is logged from now on."""
    _command("add-mask", secret)


def error(text: str) -> None:
    """Show an error on the job's page."""
    _command("error title=Keybroker", text)


def warning(text: str) -> None:
    """Show a warning on the job's page."""
    _command("warning title=Keybroker", text)


def say(text: str) -> None:
    """Write to the job's log, so that the runner never reads the text as a command."""
    # SECURITY: a refusal quotes claims, and a branch can have any name
    # (test_what_a_branch_is_called_is_no_command_to_the_runner).
    print(f"keybroker: {_escaped(text)}", flush=True)


def write(file: str, values: Mapping[str, str]) -> None:
    """Append `name=value` lines to one of the runner's files. file: the variable with its path, e.g. GITHUB_OUTPUT."""
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"{name} has more than one line")
    _append(file, "".join(f"{name}={value}\n" for name, value in values.items()))


def summarize(markdown: str) -> None:
    """Append to the summary on the job's page."""
    _append("GITHUB_STEP_SUMMARY", markdown)


def _append(file: str, text: str) -> None:
    path = os.environ.get(file)
    if path:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(text)


def _command(command: str, text: str) -> None:
    print(f"::{command}::{_escaped(text)}", flush=True)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
