"""`make package`: builds everything that is deployed into dist/, the same byte for byte of the same source and wheels."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

from infra import broker_zip
from infra.edge import __main__ as edge
from infra.edge.imported import ROOT
from infra.edge.wheels import PYTHON

OUT = ROOT / "dist"
PLAIN = ("artefacts", "tables", "keys", "logs")
"""Templates that are deployed as they are written."""
ZIP_LIMIT = 50 * 1024 * 1024
"""Bytes of a zip that Lambda takes."""


def build_edge(out: Path, wheels: Path, config: Path) -> None:
    """Write `out/edge/edge.zip`, in which this file is baked, and the template that deploys it as a version of its own.

    Raises ValueError if the file is no use.
    """
    target = out / "edge" / "edge.zip"
    if edge.main([str(target), "--config", str(config), "--wheels", str(wheels)]):
        raise ValueError(f"{config} cannot be baked into the edge's zip")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    (out / "edge" / "edge.yaml").write_text(edge_template(digest), encoding="utf-8")


def edge_template(digest: str) -> str:
    """Return infra/edge.yaml for a zip of this digest. CloudFormation publishes a version once for each logical name."""
    text = (ROOT / "infra" / "edge.yaml").read_text(encoding="utf-8")
    version = f"Version{digest[:16]}"
    for was, will in (("  Version:\n", f"  {version}:\n"), ("!Ref Version\n", f"!Ref {version}\n")):
        text = text.replace(was, will)
    return text.replace("Runtime: python3.11\n", f"Runtime: python{PYTHON}\n")


def main(arguments: list[str]) -> int:
    """Build what is deployed and say what it is."""
    parser = argparse.ArgumentParser(prog="python -m infra.package", description="Build everything that is deployed.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--wheels", type=Path, default=edge.WHEELS, help="the folder in which fetched wheels are kept")
    parser.add_argument("--config", type=Path, default=edge.PLACEHOLDER, help="the JSON file to bake into the edge")
    asked = parser.parse_args(arguments)
    try:
        broker_zip.build(asked.out, asked.wheels)
        build_edge(asked.out, asked.wheels, asked.config)
    except (OSError, ValueError, RuntimeError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    for name in PLAIN:
        shutil.copy(ROOT / "infra" / f"{name}.yaml", asked.out / f"{name}.yaml")
    for door in broker_zip.DOORS:
        content = (asked.out / door / "deployment.zip").read_bytes()
        if len(content) > ZIP_LIMIT:
            sys.stderr.write(f"error: the {door} door's zip has {len(content):,} bytes, more than Lambda takes\n")
            return 1
        digest = hashlib.sha256(content).hexdigest()
        sys.stdout.write(f"{door}: {len(content):,} bytes, for Lambda's python{PYTHON}\nsha256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
