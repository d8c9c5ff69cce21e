"""The SBOM beside an artefact, of made-up ones; that of the real zips is tested with them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from infra import sbom

FILES = {
    "b/__init__.py": "",
    "Py_Two-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: Py_Two\nVersion: 2.0\n\nName: not-this",
    "one-1.0.dist-info/METADATA": "Name: one\nVersion: 1.0\n",
    "keybroker-0.1.0.dist-info/METADATA": "Name: keybroker\nVersion: 0.1.0\n",
    "one/data/x.dist-info/METADATA": "Name: nested\nVersion: 9\n",
}


def packed(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def test_distributions_are_listed(tmp_path: Path) -> None:
    """It lists what the artefact holds, by normalized name, without ourselves."""
    artefact = packed(tmp_path / "edge.zip", FILES)
    read = json.loads(sbom.write(artefact).read_text())
    purls = ["pkg:pypi/one@1.0", "pkg:pypi/py-two@2.0"]
    assert [one["purl"] for one in read["components"]] == purls
    assert read["dependencies"] == [{"ref": "edge.zip", "dependsOn": purls}]
    digest = hashlib.sha256(artefact.read_bytes()).hexdigest()
    assert read["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert (tmp_path / "edge.zip.cdx.json").exists()


def test_chalice_is_listed(tmp_path: Path) -> None:
    """The runtime that Chalice copies without metadata is listed, too, and refused without a version."""
    artefact = packed(tmp_path / "a.zip", {"chalice/app.py": "__version__: str = '1.34.0'\n"})
    assert [one["purl"] for one in json.loads(sbom.document(artefact))["components"]] == ["pkg:pypi/chalice@1.34.0"]
    with pytest.raises(ValueError, match="has no version"):
        sbom.document(packed(tmp_path / "b.zip", {"chalice/app.py": ""}))


def test_sbom_is_reproducible(tmp_path: Path) -> None:
    """The same bytes have the same SBOM, other bytes another serial number."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    same = {sbom.document(packed(folder / "edge.zip", FILES)) for folder in (one, other)}
    assert len(same) == 1
    changed = sbom.document(packed(one / "edge.zip", {**FILES, "b/__init__.py": "1"}))
    assert json.loads(changed)["serialNumber"] != json.loads(same.pop())["serialNumber"]


def test_nameless_distribution_is_refused(tmp_path: Path) -> None:
    """What is in the artefact without a name is not left out in silence."""
    with pytest.raises(ValueError, match="has no name or no version"):
        sbom.document(packed(tmp_path / "edge.zip", {"x-1.dist-info/METADATA": "Name: x\n"}))
