"""infra/reviewed.py: a zip of Chalice's with a file that was not reviewed is refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import reviewed

APP, ROUTES, RUNTIME = b"the routes", b"the rules", b"Chalice's runtime"
PACKAGED = {"app.py": APP, "chalicelib/rules.py": ROUTES, "chalice/app.py": RUNTIME, "yaml/__init__.py": b"a parser"}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Two checked wheels; one has a file that is installed beside the others."""
    (tmp_path / "wheels").mkdir()
    write(tmp_path / "wheels" / "chalice-1.34.0-py3-none-any.whl", {"chalice/app.py": RUNTIME})
    write(
        tmp_path / "wheels" / "pyyaml-6.0.4-py3-none-any.whl",
        {"pyyaml-6.0.4.data/purelib/yaml/__init__.py": b"a parser"},
    )
    return tmp_path / "wheels"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The project, as it was copied for Chalice."""
    folder = tmp_path / "project"
    (folder / "chalicelib").mkdir(parents=True)
    (folder / "infra").mkdir()
    (folder / "app.py").write_bytes(APP)
    (folder / "chalicelib" / "rules.py").write_bytes(ROUTES)
    (folder / "infra" / "deploy.py").write_bytes(b"for the developer's machine")
    return folder


def write(archive: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return archive


def test_source_and_locked_wheels_are_packaged(tmp_path: Path, wheels: Path, source: Path) -> None:
    reviewed.check(write(tmp_path / "deployment.zip", {**PACKAGED, "chalicelib/": b""}), wheels, source)


def test_runtime_that_was_changed_is_refused(tmp_path: Path, wheels: Path, source: Path) -> None:
    """Chalice's runtime in the environment that builds must be the locked one, byte for byte."""
    package = write(tmp_path / "deployment.zip", {**PACKAGED, "chalice/app.py": RUNTIME + b"; leak()"})
    with pytest.raises(
        ValueError, match=r"not the reviewed files \(requirements.lock\): chalice/app.py: run make setup"
    ):
        reviewed.check(package, wheels, source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("yaml/__init__.py", b"another parser", id="another version of a package"),
        pytest.param("yaml/more.py", b"", id="a file that its wheel does not have"),
        pytest.param("chalicelib/rules.py", RUNTIME, id="a reviewed file under another name"),
        pytest.param("sitecustomize.py", b"leak()", id="a file of unknown origin"),
        pytest.param("infra/deploy.py", b"for the developer's machine", id="a file of ours that does not run there"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, wheels: Path, source: Path, name: str, content: bytes) -> None:
    """Whatever Chalice or pip adds by itself stops the build, and is named."""
    package = write(tmp_path / "deployment.zip", {**PACKAGED, name: content})
    with pytest.raises(ValueError, match=f"not the reviewed files .*: {name}: run make setup"):
        reviewed.check(package, wheels, source)
