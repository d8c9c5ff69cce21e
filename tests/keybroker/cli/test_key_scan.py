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


def test_a_key_in_the_environment_is_named_by_its_variable(tree: Path) -> None:
    assert found(tree, MY_KEY=KEY, OTHER="x") == [LeakedKey("groq", "environment: MY_KEY")]


def test_a_key_in_a_history_is_named_by_its_line(tree: Path) -> None:
    (tree.parent / "home" / ".bash_history").write_text(f"ls\nexport GROQ={KEY}\n")
    assert found(tree) == [LeakedKey("groq", "~/.bash_history:2")]


def test_keys_in_a_tree_are_found_but_not_in_what_is_installed_there(tree: Path) -> None:
    for name in ("src/job.py", ".env", "node_modules/x.js", ".venv/x.py"):
        (tree / name).parent.mkdir(exist_ok=True, parents=True)
        (tree / name).write_text(KEY)
    assert {one.location for one in found(tree)} == {"src/job.py:1", ".env:1"}


def test_in_a_checkout_an_env_file_is_found_though_git_ignores_it(tree: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True, timeout=30)
    (tree / ".gitignore").write_text(".env.local\nignored\n")
    for name in (".env.local", "ignored", "new.py"):
        (tree / name).write_text(KEY)
    assert {one.location for one in found(tree)} == {".env.local:1", "new.py:1"}


def test_what_cannot_be_read_or_is_no_text_is_passed_over(tree: Path) -> None:
    (tree / "binary").write_bytes(b"\0" + KEY.encode())
    (tree / "gone").symlink_to(tree / "nowhere")
    (tree / "latin").write_bytes(b"\xff\n" + KEY.encode())
    assert [one.location for one in found(tree)] == ["latin:2"]
