from __future__ import annotations

import subprocess
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
    return list(key_scan.scan(environ, tree, tree.parent / "home"))


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
