"""Finds leaked providers' keys in the environment, `.env` files, shell histories and the working tree."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
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


@dataclass(frozen=True, slots=True)
class KeyScan:
    """What was found. missing: what was not searched, "" if everything was."""

    leaked: tuple[LeakedKey, ...]
    missing: str


def scan(environ: Mapping[str, str], tree: Path, home: Path) -> KeyScan:
    """Return the providers' keys that are found. tree: the working tree. home: where the shell histories are."""
    histories = [path for path in (home / name for name in _HISTORIES) if path.is_file()]
    files = itertools.chain(histories, _files(tree))
    leaked = [*_in_environ(environ), *_in_files(itertools.islice(files, FILES), tree, home)]
    return KeyScan(tuple(leaked), "" if next(files, None) is None else f"stopped after {FILES} files")


def _in_environ(environ: Mapping[str, str]) -> Iterator[LeakedKey]:
    for name, value in environ.items():
        for found in provider_key_pattern.find(f"{name}={value}"):
            yield LeakedKey(found.provider, f"environment: {name}")


def _in_files(files: Iterable[Path], tree: Path, home: Path) -> Iterator[LeakedKey]:
    for path in files:
        for found in provider_key_pattern.find(_text(path)):
            yield LeakedKey(found.provider, f"{_shown(path, tree, home)}:{found.line}")


def _files(tree: Path) -> Iterator[Path]:
    """Yield the files of a tree; in a git checkout those that git knows, and every `.env` file, which git should ignore."""
    listed = _git_files(tree)
    if listed is None:
        yield from _walk(tree, lambda _name: True)
        return
    known = set[Path]()
    for one in listed:
        # A folder is a repository of its own, of which git lists nothing here.
        for path in _walk(one, lambda _name: True) if one.is_dir() and not one.is_symlink() else (one,):
            known.add(path)
            yield path
    yield from (path for path in _walk(tree, lambda name: name.startswith(".env")) if path not in known)


def _git_files(tree: Path) -> list[Path] | None:
    top = next((one for one in (tree.resolve(), *tree.resolve().parents) if (one / ".git").exists()), None)
    # SECURITY: the repository's own settings hide no file: neither its work tree nor its excludes but .gitignore
    # (test_a_repository_hides_no_file).
    listing = ("ls-files", "-z", "--cached", "--others", "--exclude-per-directory=.gitignore")
    settings = ("-c", "safe.bareRepository=explicit", "-c", "core.untrackedCache=false", f"--work-tree={top}")
    found = None if top is None else git_command.output(tree, *settings, *listing, seconds=30)
    return None if found is None else [tree / os.fsdecode(name) for name in found.split(b"\0") if name]


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
