"""Git, made to run nothing that a repository names: its configuration, attributes, hooks and remotes are not trusted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_SETTINGS = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}")
"""Win over a repository's own."""
_VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ALLOW_PROTOCOL": "",  # no remote is asked for objects that are not here, whatever program serves it
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def command(tree: Path, *arguments: str) -> list[str] | None:
    """Return the command line of git for a tree, None where git is not installed, or only within the tree.

    Only for plumbing that runs no filter, pager, diff driver or signature check: `ls-files`, `rev-parse`, `rev-list`, `cat-file`.
    """
    # SECURITY: looking for leaked keys in a tree must run nothing of it (test_a_tree_s_own_programs_are_not_run).
    git = _outside(tree)
    if git is None:
        return None
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    return [git, *settings, "-C", str(tree), *arguments]


def output(tree: Path, *arguments: str, seconds: float) -> bytes | None:
    """Run git for a tree, and return what it writes; None if it is not installed, fails, or takes longer than that."""
    line = command(tree, *arguments)
    if line is None:
        return None
    try:
        done = subprocess.run(line, env=environ(), capture_output=True, timeout=seconds, check=False)  # noqa: S603  git, with a path
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout


def environ() -> dict[str, str]:
    """Return git's environment: ours, without the variables that steer git."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("GIT_")}
    return {**ours, **_VARIABLES}


def _outside(tree: Path) -> str | None:
    """Return the first git on PATH that is not in the tree, None if there is none."""
    root = tree.resolve()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if not folder or not Path(folder).is_absolute() or Path(folder).resolve().is_relative_to(root):
            continue
        found = shutil.which(str(Path(folder) / "git"))
        if found is not None and not Path(found).resolve().is_relative_to(root):
            return found
    return None
