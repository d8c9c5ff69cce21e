from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keybroker.cli import key_scan
from keybroker.cli.key_scan import LeakedKey

KEY = f"gsk_{'a' * 52}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path / "tree"


def found(tree: Path, **environ: str) -> list[LeakedKey]:
    return list(key_scan.scan(environ, tree, tree.parent / "home").leaked)


def test_environment_keys_are_named(tree: Path) -> None:
    """A key in the environment is reported by its variable."""
    assert found(tree, MY_KEY=KEY, OTHER="x") == [LeakedKey("groq", "environment: MY_KEY")]


def test_history_keys_have_a_line(tree: Path) -> None:
    """A key in a shell history is reported by its line."""
    (tree.parent / "home" / ".bash_history").write_text(f"ls\nexport GROQ={KEY}\n")
    assert found(tree) == [LeakedKey("groq", "~/.bash_history:2")]


def test_installed_packages_are_skipped(tree: Path) -> None:
    """Keys in a tree are found, but not in what is installed there."""
    for name in ("src/job.py", ".env", "node_modules/x.js", ".venv/x.py"):
        (tree / name).parent.mkdir(exist_ok=True, parents=True)
        (tree / name).write_text(KEY)
    assert {one.location for one in found(tree)} == {"src/job.py:1", ".env:1"}


def test_ignored_env_files_are_scanned(tree: Path) -> None:
    """In a git checkout, `.env` files are scanned although git ignores them."""
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True, timeout=30)
    (tree / ".gitignore").write_text(".env.local\nignored\n")
    for name in (".env.local", "ignored", "new.py"):
        (tree / name).write_text(KEY)
    assert {one.location for one in found(tree)} == {".env.local:1", "new.py:1"}


def test_unreadable_and_binary_files_are_skipped(tree: Path) -> None:
    """Files that cannot be read or are not text are skipped."""
    (tree / "binary").write_bytes(b"\0" + KEY.encode())
    (tree / "gone").symlink_to(tree / "nowhere")
    (tree / "latin").write_bytes(b"\xff\n" + KEY.encode())
    assert [one.location for one in found(tree)] == ["latin:2"]


def git(tree: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(tree), *arguments], check=True, timeout=30, capture_output=True)


def worktree(tree: Path) -> None:
    (tree.parent / "empty").mkdir()
    git(tree, "config", "core.worktree", str(tree.parent / "empty"))


def excludes_file(tree: Path) -> None:
    (tree.parent / "excludes").write_text("*.py\n")
    git(tree, "config", "core.excludesFile", str(tree.parent / "excludes"))


def info_exclude(tree: Path) -> None:
    (tree / ".git" / "info" / "exclude").write_text("*.py\n")


def nested(tree: Path) -> None:
    git(tree / "src", "init", "--quiet")


def bare(tree: Path) -> None:
    """Make a subfolder look like a repository itself, whose work tree is elsewhere."""
    (tree.parent / "empty").mkdir()
    git(tree / "src", "init", "--quiet", "--bare")
    git(tree / "src", "config", "core.bare", "false")
    git(tree / "src", "config", "core.worktree", str(tree.parent / "empty"))


@pytest.mark.parametrize("trick", [worktree, excludes_file, info_exclude, nested, bare])
@pytest.mark.parametrize("folder", [".", "src"])
def test_a_repository_hides_no_file(tree: Path, trick: Callable[[Path], None], folder: str) -> None:
    """No setting of a repository, and no repository in another, hides a file, in the whole tree or a subfolder of it."""
    git(tree, "init", "--quiet")
    (tree / "src").mkdir()
    (tree / "src" / "new.py").write_text(KEY)
    trick(tree)
    scanned = key_scan.scan({}, tree / folder, tree.parent / "home").leaked
    assert [one.location for one in scanned] == ["src/new.py:1" if folder == "." else "new.py:1"]


def test_the_limit_of_files_is_said(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that stopped at the limit of files says so, and one that did not stop says nothing."""
    for name in ("a", "b", "c"):
        (tree / name).write_text(KEY if name == "c" else "")
    home = tree.parent / "home"
    monkeypatch.setattr(key_scan, "FILES", 2)
    assert key_scan.scan({}, tree, home) == key_scan.KeyScan((), "stopped after 2 files")
    monkeypatch.setattr(key_scan, "FILES", 3)
    assert key_scan.scan({}, tree, home) == key_scan.KeyScan((LeakedKey("groq", "c:1"),), "")
