"""`make edge`: builds the edge function's zip, to be deployed by this file and no other in every region at once."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from chalicelib.aws.config import EdgeConfig
from infra.edge import archive, folder
from infra.edge.imported import ROOT
from infra.edge.wheels import PYTHON

PLACEHOLDER = Path(__file__).parent / "placeholder.json"
WHEELS = ROOT / "dist" / "wheels"
SIZE_LIMIT = 10 * 1024 * 1024
"""Bytes of the zip at most. Lambda@Edge takes 50 MB; what is larger starts more slowly."""
_WARNING = """\
WARNING: nothing is baked into this zip: deployed, it answers every call with 503. For a real one, write a JSON file with
the members {names}
and say `make edge CONFIG=that-file`.
"""


def main(arguments: list[str]) -> int:
    """Build the zip that the arguments ask for, and say what it is."""
    parser = argparse.ArgumentParser(prog="python -m infra.edge", description="Build the edge function's zip.")
    parser.add_argument("archive", type=Path, help="the zip to write")
    parser.add_argument("--config", type=Path, default=PLACEHOLDER, help="the JSON file to bake in")
    parser.add_argument("--wheels", type=Path, default=WHEELS, help="the folder in which fetched wheels are kept")
    asked = parser.parse_args(arguments)
    try:
        baked = _baked(asked.config)
    except (OSError, ValueError) as fault:
        sys.stderr.write(f"error: {asked.config}: {fault}\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder.lay_out(Path(name), baked, asked.wheels)
        files = archive.pack(Path(name), asked.archive)
    content = asked.archive.read_bytes()
    if len(content) > SIZE_LIMIT:
        sys.stderr.write(f"error: {asked.archive} has {len(content):,} bytes, more than {SIZE_LIMIT:,}\n")
        return 1
    sys.stdout.write(f"{asked.archive}: {len(content):,} bytes, {files} files, for Lambda's python{PYTHON}\n")
    sys.stdout.write(f"sha256 {hashlib.sha256(content).hexdigest()}\n")
    return 0


def _baked(config: Path) -> str:
    """Return what is to be baked in; raises ValueError if a real one would not be read."""
    text = config.read_text(encoding="utf-8")
    if config.resolve() == PLACEHOLDER:
        names = ", ".join(EdgeConfig._fields)
        sys.stderr.write(_WARNING.format(names=names))
    else:
        EdgeConfig.parse(text)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
