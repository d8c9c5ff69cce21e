"""Finds leaked providers' keys in the environment, `.env` files, shell histories and the working tree."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from keybroker.cli import git_command, provider_key_pattern

FILES = 20_000
"""Files that are read, at most."""
SIZE = 1024 * 1024
"""Bytes that are read of a file, from its end: keys are in small files, and at the end of histories."""
_HISTORIES = (".bash_history", ".zsh_history", ".local/share/fish/fish_history", ".python_history")
_SKIPPED = {".git", "node_modules", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", "dist", "build"}


@dataclass(frozen=True, slots=True)
class LeakedKey:
    """A provider's key in the open. location: `environment: NAME`, or a file and a line."""

    provider: str
    location: str


def scan(environ: Mapping[str, str], tree: Path, home: Path) -> Iterator[LeakedKey]:
    """Yield the providers' keys that are found. tree: the working tree. home: where the shell histories are."""
    for name, value in environ.items():
        for found in provider_key_pattern.find(f"{name}={value}"):
            yield LeakedKey(found.provider, f"environment: {name}")
    histories = (home / name for name in _HISTORIES)
    for path in itertools.islice(itertools.chain(histories, _files(tree)), FILES):
        for found in provider_key_pattern.find(_text(path)):
            yield LeakedKey(found.provider, f"{_shown(path, tree, home)}:{found.line}")


def _files(tree: Path) -> Iterator[Path]:
    """Yield the files of a tree; in a git checkout those that git knows, and every `.env` file, which git should ignore."""
    listed = _git_files(tree)
    if listed is None:
        yield from _walk(tree, lambda _name: True)
        return
    yield from listed
    known = set(listed)
    yield from (path for path in _walk(tree, lambda name: name.startswith(".env")) if path not in known)


def _git_files(tree: Path) -> list[Path] | None:
    command = git_command.command(tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if command is None:
        return None
    try:
        done = subprocess.run(command, env=git_command.environ(), capture_output=True, timeout=30, check=False)  # noqa: S603  git, with a path
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return [tree / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _walk(tree: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        yield from (Path(folder) / name for name in sorted(names) if wanted(name))


def _text(path: Path) -> str:
    """Return the text at a file's end, "" if it is not a text file or cannot be read."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - SIZE, 0))
            content = file.read(SIZE)
    except OSError:
        return ""
    return text_of(content)


def text_of(content: bytes) -> str:
    """Return a file's content as text, "" if it is not a text file's."""
    return "" if b"\0" in content[:1024] else content.decode("utf-8", "replace")


def _shown(path: Path, tree: Path, home: Path) -> str:
    for folder, prefix in ((tree, ""), (home, "~/")):
        if path.is_relative_to(folder):
            return prefix + str(path.relative_to(folder))
    return str(path)
