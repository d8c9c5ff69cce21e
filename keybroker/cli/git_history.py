"""Finds leaked providers' keys in a repository's history: in every version of every file, within bounds."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from keybroker.cli import git_command, key_scan, provider_key_pattern
from keybroker.cli.key_scan import LeakedKey

SECONDS = 60.0
"""How long a search takes at most."""
VERSIONS = 50_000
"""Versions of files that are read, at most, the newest first."""


@dataclass(frozen=True, slots=True)
class HistoryScan:
    """What was found.

    leaked: each provider once per path, the newest version of it. versions: how many versions of files were read.
    missing: why it was not the whole history, "" if it was.
    """

    leaked: tuple[LeakedKey, ...]
    versions: int
    missing: str = ""


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a file: its object's name, "" if it is not here, and its path, as far as git knows one."""

    name: str
    path: str


def scan(tree: Path, seconds: float = SECONDS, most: int = VERSIONS) -> HistoryScan:
    """Search everything that a repository's branches, tags, stashes and reflogs reach."""
    missing = _state(tree)
    if missing is None:
        return HistoryScan((), 0, "not searched: git is not installed, or cannot read a repository here")
    found: dict[tuple[str, str], LeakedKey] = {}
    read = 0
    with _Processes(tree, seconds) as git:
        versions = list(itertools.islice(_versions(git), most + 1))
        present = [version for version in versions[:most] if version.name]
        for version, content in _contents(git, present):
            read += 1
            for one in provider_key_pattern.find(key_scan.text_of(content)):
                where = f"git history: {version.path}:{one.line} (git show {version.name[:12]})"
                found.setdefault((one.provider, version.path), LeakedKey(one.provider, where))
    if git.late:
        missing = f"stopped after {seconds:.0f} s"
    elif len(versions) > most:
        missing = f"stopped after {most} versions of files"
    elif len(versions) > len(present):
        missing = "git has not all of it here: a partial clone, or a damaged one"
    return HistoryScan(tuple(found.values()), read, missing)


def _state(tree: Path) -> str | None:
    """Return what is missing of the history from the outset, None if there is no repository that git can read."""
    answer = git_command.output(tree, "rev-parse", "--is-shallow-repository", seconds=10)
    if answer is None:
        return None
    return "a shallow clone: git fetch --unshallow gets the rest" if answer.strip() == b"true" else ""


class _Processes:
    """Runs git for one tree, and kills it at the end of the block or after so many seconds. late: whether it did the latter."""

    def __init__(self, tree: Path, seconds: float) -> None:
        self.late = False
        self._tree = tree
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._timer = threading.Timer(seconds, self._stop)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for process in self._running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def start(self, *arguments: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start one; its output is read from a pipe. Raises FileNotFoundError if git is gone."""
        command = git_command.command(self._tree, *arguments)
        if command is None:
            # SECURITY: never a `git` of the tree instead (test_git_of_the_tree_is_not_run).
            raise FileNotFoundError("git")
        with self._lock:
            process = subprocess.Popen(  # noqa: S603  git, with a path
                command, env=git_command.environ(), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._running.append(process)
            if self.late:
                process.kill()
        return process

    def _stop(self) -> None:
        with self._lock:
            self.late = True
            for process in self._running:
                process.kill()


def _versions(git: _Processes) -> Iterator[_Version]:
    """Yield the versions of files that are small enough to hold a key, the newest commits' first."""
    listing = git.start("rev-list", "--objects", "--all", "--reflog")
    form = "--batch-check=%(objecttype) %(objectsize) %(objectname) %(rest)"
    checking = git.start("cat-file", form, stdin=_output(listing))
    for line in _output(checking):
        kind, _, rest = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
        size, _, rest = rest.partition(" ")
        name, _, path = rest.partition(" ")
        if line.endswith(b" missing\n"):
            yield _Version("", "")
        elif kind == "blob" and size.isdecimal() and int(size) <= key_scan.SIZE:
            yield _Version(name, path or name)
    if listing.wait():
        yield _Version("", "")


def _contents(git: _Processes, versions: list[_Version]) -> Iterator[tuple[_Version, bytes]]:
    with tempfile.TemporaryFile() as names:
        names.write("".join(f"{version.name}\n" for version in versions).encode())
        names.seek(0)
        reading = _output(git.start("cat-file", "--batch", "--buffer", stdin=names))
    for version in versions:
        _, _, size = reading.readline().decode("ascii", "replace").strip().rpartition(" ")
        if not size.isdecimal():  # `NAME missing`, or git has ended
            continue
        content = reading.read(int(size) + 1)  # the content, and a line's end
        if len(content) <= int(size):
            return
        yield version, content


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise ValueError("started without a pipe")
    return process.stdout
