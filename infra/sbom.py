"""An artefact's SBOM beside it: CycloneDX 1.6 in JSON, of what the zip or wheel holds, the same from the same bytes."""

from __future__ import annotations

import email
import hashlib
import json
import re
import sys
import tomllib
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

from infra.lock import normalized

OWN = "keybroker"
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_CHALICE = "chalice/app.py"
"""Of the runtime that Chalice's packager copies, without metadata."""
_ROOT = Path(__file__).resolve().parents[1]


def write(artefact: Path) -> Path:
    """Write `<artefact>.cdx.json` and return its path. Raises ValueError if a distribution in it has no name or version."""
    path = artefact.with_name(f"{artefact.name}.cdx.json")
    path.write_text(document(artefact), encoding="utf-8")
    return path


def document(artefact: Path) -> str:
    """Return an artefact's SBOM. It has no time in it; its serial number is of the artefact's digest."""
    digest = hashlib.sha256(artefact.read_bytes()).hexdigest()
    with zipfile.ZipFile(artefact) as packed:
        held = sorted({one for one in _distributions(packed) if one[0] != OWN})
    purls = [f"pkg:pypi/{name}@{version}" for name, version in held]
    subject = {
        "type": "application",
        "bom-ref": artefact.name,
        "name": artefact.name,
        "version": tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, digest).urn,
        "version": 1,
        "metadata": {"component": subject},
        "components": [
            {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
            for (name, version), purl in zip(held, purls, strict=True)
        ],
        "dependencies": [{"ref": artefact.name, "dependsOn": purls}],
    }
    return json.dumps(bom, indent=2) + "\n"


def _distributions(packed: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Yield the name and version of each distribution whose metadata is in a zip."""
    for member in packed.namelist():
        if _METADATA.fullmatch(member):
            fields = email.message_from_bytes(packed.read(member))
            if not (fields["Name"] and fields["Version"]):
                raise ValueError(f"{member} has no name or no version")
            yield normalized(fields["Name"]), fields["Version"]
    if _CHALICE in packed.namelist():
        version = re.search(
            r"^__version__(?:: str)? = ['\"]([\w.]+)['\"]", packed.read(_CHALICE).decode(), re.MULTILINE
        )
        if not version:
            raise ValueError(f"{_CHALICE} has no version")
        yield "chalice", version[1]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name))
