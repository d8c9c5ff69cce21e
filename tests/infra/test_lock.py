"""requirements.lock: that it agrees with pyproject.toml, and that nothing but its files is packed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra import broker_zip, lock
from infra.edge import wheels
from tests.running import ROOT

NAME = "python_dateutil-2.9.0.post0-py2.py3-none-any.whl"
CONTENT = b"what was reviewed"
LOCKS = {"python-dateutil": lock.Locked("2.9.0.post0", frozenset({hashlib.sha256(CONTENT).hexdigest()}))}
VERSIONS = {"Python.DateUtil": "2.9.0.post0"}
LINE = f"six==1.17.0 --hash=sha256:{'0' * 64}"


def test_lock_agrees_with_pyproject() -> None:
    """The lock has exactly what the broker extra needs, directly or not, and Chalice's runtime, in versions asked for."""
    locked = lock.current()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    waiting = [Requirement(one) for one in extras["broker"]]
    reached = set()
    while waiting:
        wanted = waiting.pop()
        name = lock.normalized(wanted.name)
        assert name in locked, f"{wanted}: run make lock"
        assert wanted.specifier.contains(locked[name].version), f"{wanted} is not {locked[name].version}: run make lock"
        if (name, *sorted(wanted.extras)) not in reached:
            reached.add((name, *sorted(wanted.extras)))
            for one in map(Requirement, importlib.metadata.requires(wanted.name) or ()):
                asked = [{"extra": extra} for extra in ("", *wanted.extras)]
                if one.marker is None or any(one.marker.evaluate(extra) for extra in asked):
                    waiting.append(one)
    (runtime,) = (one for one in map(Requirement, extras["server"]) if one.name == "chalice")  # without what it needs
    assert runtime.specifier.contains(locked["chalice"].version), "run make lock"
    by_marker = {"typing-extensions"}  # older Pythons only
    assert {name for name, *_ in reached} | by_marker | {"chalice"} == locked.keys() | by_marker


def test_installed_versions_are_the_locked_ones() -> None:
    """What the tests run with is what is shipped."""
    installed = {name: importlib.metadata.version(name) for name in lock.current()}
    assert installed == {name: one.version for name, one in lock.current().items()}, "run make setup"


def test_constraints_are_read_from_the_lock() -> None:
    """Make setup installs the locked versions of what is shipped."""
    makefile = (ROOT / "Makefile").read_text()
    assert "$(STAMP): pyproject.toml requirements.lock" in makefile
    assert "-c $(VENV)/locked.txt" in makefile


def test_a_release_of_this_week_is_not_locked() -> None:
    """Make lock takes no file that was published less than a week ago, of whatever is locked, unless it is told to."""
    makefile = (ROOT / "Makefile").read_text()
    resolving = re.findall(r"uv pip compile(?:\\\n|.)*", makefile)
    assert len(resolving) == 3
    assert all("--exclude-newer '$(LOCK_AGE)'" in one for one in resolving)
    assert "\nLOCK_AGE := 7 days\n" in makefile


@pytest.mark.parametrize(
    "text",
    [
        "six==1.17.0",
        "six>=1.17.0 --hash=sha256:" + "0" * 64,
        "six==1.17.0 --hash=md5:" + "0" * 32,
        "six @ https://files.example.com/six.whl --hash=sha256:" + "0" * 64,
        "--trusted-host pypi.example.com",
        "-r other.txt",
        f"{LINE}\n{LINE}",
    ],
)
def test_lock_pins_nothing_but_hashes(text: str) -> None:
    """A lock with an option, a URL, a range, no hash or a name twice is refused."""
    with pytest.raises(ValueError, match="not one pinned distribution with its hashes"):
        lock.read(text)


def test_wheel_is_found_by_any_spelling(tmp_path: Path) -> None:
    """A wheel is found by its distribution's name in any spelling."""
    (tmp_path / NAME).write_bytes(CONTENT)
    (tmp_path / "python_dateutil-2.8.0-py2.py3-none-any.whl").touch()
    assert wheels.wheels(VERSIONS, tmp_path, LOCKS) == {"Python.DateUtil": CONTENT}


def test_tampered_wheel_is_refused(tmp_path: Path) -> None:
    """A wheel that lies in the folder already and is not the locked file gets into neither zip."""
    (tmp_path / NAME).write_bytes(CONTENT + b"!")
    with pytest.raises(ValueError, match="is not the locked file"):
        wheels.wheels(VERSIONS, tmp_path, LOCKS)
    with pytest.raises(ValueError, match="is not the locked file"):
        broker_zip.collect(tmp_path, tmp_path / "checked", LOCKS)
    assert not list((tmp_path / "checked").iterdir())


def test_a_second_file_of_a_version_is_refused(tmp_path: Path) -> None:
    """A build tag, which pip would prefer, smuggles nothing in beside the locked file."""
    (tmp_path / NAME).write_bytes(CONTENT)
    (tmp_path / NAME.replace("-py2", "-9-py2")).write_bytes(b"other")
    with pytest.raises(ValueError, match="is not the locked file"):
        broker_zip.collect(tmp_path, tmp_path / "checked", LOCKS)


def test_another_version_is_not_collected(tmp_path: Path) -> None:
    """Chalice sees the locked wheels and no others."""
    (tmp_path / NAME).write_bytes(CONTENT)
    (tmp_path / "python_dateutil-3.0-py2.py3-none-any.whl").write_bytes(b"newer")
    broker_zip.collect(tmp_path, tmp_path / "checked", LOCKS)
    assert [one.name for one in (tmp_path / "checked").iterdir()] == [NAME]


@pytest.mark.parametrize("versions", [{"python-dateutil": "2.8.0"}, {"unknown": "1"}])
def test_version_that_is_not_locked_is_refused(tmp_path: Path, versions: dict[str, str]) -> None:
    """A distribution that is installed and not locked, or in another version, is not packed."""
    with pytest.raises(ValueError, match="run make setup"):
        wheels.wheels(versions, tmp_path, LOCKS)


def test_pip_refuses_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip downloads must have a locked hash, too."""
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / NAME).write_bytes(b"another")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    with pytest.raises(ValueError, match="is not the locked file"):
        wheels.wheels(VERSIONS, tmp_path / "wheels", LOCKS)
    assert not list((tmp_path / "wheels").iterdir())


def test_pip_that_reaches_no_index_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wheel at all is another error than a wrong one: only this one excuses a test from building."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RuntimeError, match="pip downloaded no wheels"):
        wheels.wheels(VERSIONS, tmp_path / "wheels", LOCKS)
