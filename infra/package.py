"""`make package`: builds everything that is deployed into dist/, byte for byte the same from the same source and wheels."""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from pathlib import Path

from infra import broker_zip
from infra.edge import __main__ as edge
from infra.edge.dependencies import ROOT
from infra.edge.wheels import PYTHON

OUT = ROOT / "dist"
UNCHANGED = ("artefacts", "tables", "keys", "logs", "watch", "gateway-role", "broker-role", "gateway")
"""Templates that are deployed as they are."""
OF_FUNCTIONS = ("watcher", "audit", "probe", "minter")
"""Templates of functions that are in the administration's zip."""
_SETTING = re.compile(r"^      (?:Handler|Runtime|Architectures|MemorySize|Timeout): .+$", re.MULTILINE)
"""What Lambda keeps with a version of the edge's function, as its template says it."""
ZIP_LIMIT = 50 * 1024 * 1024
"""Lambda's limit, in bytes."""


def build_edge(out: Path, wheels: Path, config: Path) -> None:
    """Write `out/edge/edge.zip` with this configuration, and the template that deploys it as a new version.

    Raises ValueError if the configuration is invalid, or a wheel is not the locked one; the reason is on stderr.
    """
    target = out / "edge" / "edge.zip"
    if edge.main([str(target), "--config", str(config), "--wheels", str(wheels)]):
        raise ValueError(f"the edge's zip was not built with {config}")
    (out / "edge" / "edge.yaml").write_text(edge_template(target.read_bytes()), encoding="utf-8")


def edge_template(content: bytes, source: str = "") -> str:
    """Return infra/edge.yaml, or a source in its place, for a zip's content. CloudFormation publishes one version per logical name.

    So the name is of the zip and of what else Lambda keeps with a version: a new memory size alone is a new version, too.
    """
    text = source or (ROOT / "infra" / "edge.yaml").read_text(encoding="utf-8")
    text = text.replace("Runtime: python3.11\n", f"Runtime: python{PYTHON}\n")
    settings = "\n".join(_SETTING.findall(text))
    version = f"Version{hashlib.sha256(settings.encode() + content).hexdigest()[:16]}"
    for old, new in (("  Version:\n", f"  {version}:\n"), ("!Ref Version\n", f"!Ref {version}\n")):
        text = text.replace(old, new)
    return text


def template_of_function(name: str) -> str:
    """Return infra/<name>.yaml, which deploys a function of the administration's zip, for the Python of that zip."""
    text = (ROOT / "infra" / f"{name}.yaml").read_text(encoding="utf-8")
    return text.replace("Runtime: python3.11\n", f"Runtime: python{PYTHON}\n")


def retiring(version: tuple[int, int]) -> str:
    """Return a warning for a version of Python that Lambda retires before 3.13, and nothing for others."""
    if version >= (3, 13):
        return ""
    return (
        f"warning: the functions will run Python {version[0]}.{version[1]}, which Lambda retires before 3.13 "
        "(3.11 on 2027-06-30): build with make package PYTHON=python3.13\n"
    )


def main(arguments: list[str]) -> int:
    """Build everything and print sizes and digests."""
    parser = argparse.ArgumentParser(prog="python -m infra.package", description="Build everything that is deployed.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--wheels", type=Path, default=edge.WHEELS, help="the folder for downloaded wheels")
    parser.add_argument(
        "--config", type=Path, default=edge.PLACEHOLDER, help="the JSON file with the edge's configuration"
    )
    options = parser.parse_args(arguments)
    try:
        broker_zip.build(options.out, options.wheels)
        build_edge(options.out, options.wheels, options.config)
    except (OSError, ValueError, RuntimeError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    for name in UNCHANGED:
        shutil.copy(ROOT / "infra" / f"{name}.yaml", options.out / f"{name}.yaml")
    for name in OF_FUNCTIONS:
        (options.out / f"{name}.yaml").write_text(template_of_function(name), encoding="utf-8")
    sys.stderr.write(retiring(sys.version_info[:2]))
    for door in broker_zip.DOORS:
        content = (options.out / door / "deployment.zip").read_bytes()
        if len(content) > ZIP_LIMIT:
            sys.stderr.write(f"error: the {door} door's zip has {len(content):,} bytes, more than Lambda allows\n")
            return 1
        digest = hashlib.sha256(content).hexdigest()
        sys.stdout.write(f"{door}: {len(content):,} bytes, for Lambda's python{PYTHON}\nsha256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
