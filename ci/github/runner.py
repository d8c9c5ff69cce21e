"""How a step speaks to GitHub's runner: lines that it reads on stdout, and files that it reads afterwards.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def given(name: str) -> str:
    """Return an input of the action, "" where there is none."""
    return os.environ.get(f"INPUT_{name.upper()}", "").strip()


def mask(secret: str) -> None:
    """Have the runner replace a text by *** in whatever is logged from here on."""
    _command("add-mask", secret)


def error(text: str) -> None:
    """Show an error with the job."""
    _command("error title=Keybroker", text)


def warning(text: str) -> None:
    """Show a warning with the job."""
    _command("warning title=Keybroker", text)


def say(text: str) -> None:
    """Write to the job's log; never what the runner would take for a command of its own."""
    # SECURITY: a refusal quotes claims, and a branch can be called anything
    # (test_what_a_branch_is_called_is_no_command_to_the_runner).
    print(f"keybroker: {_escaped(text)}", flush=True)


def write(file: str, values: Mapping[str, str]) -> None:
    """Add `name=value` lines to one of the runner's files. file: the variable that names it, e.g. GITHUB_OUTPUT."""
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"{name} is more than one line")
    _append(file, "".join(f"{name}={value}\n" for name, value in values.items()))


def summarize(markdown: str) -> None:
    """Add to the summary that is shown with the job."""
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
