"""What `doctor` asks git about a tree, and what a tree cannot make it run."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keybroker.cli import git_command, git_history, key_scan

KEY = f"gsk_{'a' * 52}"


def git(tree: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    command = ["git", *identity, "-C", str(tree), *arguments]
    return subprocess.run(command, check=True, timeout=30, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    git(path, "init", "--quiet")
    (path / "job.py").write_text(KEY)
    git(path, "add", ".")
    git(path, "commit", "--quiet", "-m", "one")
    return path


@pytest.fixture
def program(tree: Path) -> Iterator[Path]:
    """A program of the tree that notes that it ran; checks at the end that it did not."""
    path = tree / "program"
    path.write_text(f'#!/bin/sh\ntouch "{tree.parent}/ran"\nexit 1\n')
    path.chmod(0o755)
    yield path
    assert not (tree.parent / "ran").exists()


def fsmonitor(tree: Path, program: Path) -> None:
    git(tree, "config", "core.fsmonitor", str(program))


def filters(tree: Path, program: Path) -> None:
    (tree / ".gitattributes").write_text("* filter=x diff=x\n")
    for name in (
        "filter.x.clean",
        "filter.x.smudge",
        "diff.x.textconv",
        "diff.external",
        "core.pager",
        "core.sshCommand",
    ):
        git(tree, "config", name, str(program))


def hooks(tree: Path, program: Path) -> None:
    git(tree, "config", "core.hooksPath", str(tree / "hooks"))
    (tree / "hooks").mkdir()
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (tree / "hooks" / name).symlink_to(program)


def promisor(tree: Path, program: Path) -> None:
    """Make objects missing, and the tree's own program what git would ask for them."""
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::{program}"),
        ("protocol.ext.allow", "always"),
    ):
        git(tree, "config", name, value)
    blob = git(tree, "rev-parse", "HEAD:job.py")
    path = tree / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(stat.S_IWUSR | stat.S_IRUSR)
    path.unlink()


@pytest.mark.parametrize("trap", [fsmonitor, promisor])
def test_the_traps_are_real(tree: Path, trap: Callable[[Path, Path], None]) -> None:
    """Git as a person runs it does run the tree's program, so the test below can fail."""
    path = tree / "program"
    path.write_text(f'#!/bin/sh\ntouch "{tree.parent}/ran"\nexit 1\n')
    path.chmod(0o755)
    trap(tree, path)
    for arguments in (("ls-files", "--others"), ("cat-file", "-p", "HEAD:job.py")):
        subprocess.run(["git", "-C", str(tree), *arguments], check=False, timeout=30, capture_output=True)
    assert (tree.parent / "ran").exists()


@pytest.mark.parametrize("trap", [fsmonitor, filters, hooks, promisor])
def test_a_tree_s_own_programs_are_not_run(tree: Path, program: Path, trap: Callable[[Path, Path], None]) -> None:
    """Searching a tree and its history runs nothing that its configuration, attributes, hooks or remotes name."""
    trap(tree, program)
    leaked = {one.location for one in key_scan.scan({}, tree, tree.parent).leaked}
    assert "job.py:1" in leaked
    found = git_history.scan(tree)
    assert (len(found.leaked), "partial clone" in found.missing) == ((0, True) if trap is promisor else (1, False))


def test_git_of_the_tree_is_not_run(tree: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `git` that lies in the tree is passed over, by its own name and by a relative PATH, for the one behind it."""
    program.rename(tree / "git")
    (tree.parent / "bin").mkdir()
    (tree.parent / "bin" / "git").symlink_to(tree / "git")
    rest = os.environ["PATH"]
    monkeypatch.chdir(tree)
    monkeypatch.setenv("PATH", f"{tree}:.::{tree.parent / 'bin'}:{rest}")
    assert git_history.scan(tree).versions == 1
    monkeypatch.setenv("PATH", str(tree))
    assert git_command.command(tree, "ls-files") is None
    assert {one.location for one in key_scan.scan({}, tree, tree.parent).leaked} == {"job.py:1"}
    assert git_history.scan(tree).missing.startswith("not searched")


def test_variables_do_not_steer_git(tree: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that name another repository, or a program, are not passed on to git."""
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    for number, name in enumerate(("core.fsmonitor", "core.alternateRefsCommand")):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", str(program))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    assert git_history.scan(tree).versions == 1
