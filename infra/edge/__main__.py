"""`make edge`: builds the edge function's zip."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from chalicelib.aws.config import EdgeConfig
from infra import sbom
from infra.edge.contents import write_contents
from infra.edge.dependencies import ROOT
from infra.edge.reproducible_zip import write_zip
from infra.edge.wheels import PYTHON

PLACEHOLDER = Path(__file__).parent / "placeholder.json"
WHEELS = ROOT / "dist" / "wheels"
SIZE_LIMIT = 10 * 1024 * 1024
"""The zip's maximum size in bytes. Lambda@Edge allows 50 MB, but a larger zip starts more slowly."""
_WARNING = """\
WARNING: this zip has no configuration: deployed, it responds to every call with 503. For a real one, write a JSON file with
the members {names}
and run `make edge CONFIG=that-file`.
"""


def main(arguments: list[str]) -> int:
    """Build the zip and print its size and digest."""
    parser = argparse.ArgumentParser(prog="python -m infra.edge", description="Build the edge function's zip.")
    parser.add_argument("archive", type=Path, help="the zip to write")
    parser.add_argument(
        "--config", type=Path, default=PLACEHOLDER, help="the JSON file with the configuration to bake in"
    )
    parser.add_argument("--wheels", type=Path, default=WHEELS, help="the folder for downloaded wheels")
    options = parser.parse_args(arguments)
    try:
        baked = _baked(options.config)
    except (OSError, ValueError) as fault:
        sys.stderr.write(f"error: {options.config}: {fault}\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        try:
            write_contents(Path(name), baked, options.wheels)
        except (ValueError, RuntimeError) as fault:
            sys.stderr.write(f"error: {fault}\n")
            return 1
        files = write_zip(Path(name), options.archive)
    sbom.write(options.archive)
    content = options.archive.read_bytes()
    if len(content) > SIZE_LIMIT:
        sys.stderr.write(f"error: {options.archive} has {len(content):,} bytes; the limit is {SIZE_LIMIT:,}\n")
        return 1
    sys.stdout.write(f"{options.archive}: {len(content):,} bytes, {files} files, for Lambda's python{PYTHON}\n")
    sys.stdout.write(f"sha256 {hashlib.sha256(content).hexdigest()}\n")
    return 0


def _baked(config: Path) -> str:
    """Return the configuration's text; raises ValueError if the edge could not read it."""
    text = config.read_text(encoding="utf-8")
    if config.resolve() == PLACEHOLDER:
        names = ", ".join(EdgeConfig._fields)
        sys.stderr.write(_WARNING.format(names=names))
    else:
        EdgeConfig.parse(text)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
