from __future__ import annotations

from pathlib import Path

import pytest

from keybroker.cli import git_history
from tests.keybroker.cli.keybroker_command import job, run
from tests.keybroker.cli.test_git_command import KEY, git, tree
from tests.running import Running

__all__ = ["tree"]


@pytest.fixture
def cleaned(tree: Path) -> Path:
    """A repository whose newest commit removes a key."""
    (tree / "job.py").write_text("clean")
    git(tree, "commit", "--quiet", "-am", "two")
    return tree


def test_removed_keys_are_found(cleaned: Path) -> None:
    """A key that was removed is found in the history, with its path and what shows it."""
    found = git_history.scan(cleaned)
    blob = git(cleaned, "rev-parse", "HEAD~1:job.py")
    assert [one.location for one in found.leaked] == [f"git history: job.py:1 (git show {blob[:12]})"]
    assert (found.versions, found.missing) == (2, "")


@pytest.mark.parametrize("hide", [("stash",), ("checkout", "--quiet", "-b", "other"), ("reset", "--quiet", "--hard")])
def test_keys_off_the_branch_are_found(cleaned: Path, hide: tuple[str, ...]) -> None:
    """A key in a stash, on another branch, or in an amended commit is found."""
    (cleaned / "other.py").write_text(KEY.replace("a", "b"))
    git(cleaned, "add", ".")
    if hide[0] != "stash":
        git(cleaned, "commit", "--quiet", "-m", "three")
    git(cleaned, *hide, *(["HEAD~1"] if hide[0] == "reset" else []))
    assert {one.location.split()[2] for one in git_history.scan(cleaned).leaked} == {"job.py:1", "other.py:1"}


def test_a_path_is_reported_once(tree: Path) -> None:
    """A key that many versions of a file have is reported once."""
    for number in range(3):
        (tree / "job.py").write_text(f"{number}\n{KEY}")
        git(tree, "commit", "--quiet", "-am", "more")
    [one] = git_history.scan(tree).leaked
    assert "job.py:2" in one.location


def test_the_search_is_bounded(cleaned: Path) -> None:
    """A search that ends at its bound says so."""
    assert git_history.scan(cleaned, most=1).missing == "stopped after 1 versions of files"
    assert git_history.scan(cleaned, seconds=0).missing == "stopped after 0 s"


def test_a_shallow_clone_is_not_the_whole(cleaned: Path, tmp_path: Path) -> None:
    """A shallow clone is said not to be the whole history."""
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{cleaned}", "copy")
    found = git_history.scan(tmp_path / "copy")
    assert (found.leaked, "shallow" in found.missing) == ((), True)


def test_doctor_searches_history_on_request(cleaned: Path, tmp_path: Path, running: Running) -> None:
    """`doctor --history` reports what the working tree no longer has."""
    code, said = (done := run("doctor", "--history", environ=job(running), cwd=cleaned)).code, done.out
    assert (code, "error: history: groq: git history: job.py:1" in said) == (1, True)
    assert KEY not in said
    assert run("doctor", environ=job(running), cwd=cleaned).code == 0
    assert "warning: history: not searched" in run("doctor", "--history", environ=job(running), cwd=tmp_path).out
