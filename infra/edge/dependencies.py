"""What the edge function imports, found by importing it in a separate interpreter rather than from a list."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("dynamodb", "secretsmanager")
"""The AWS services that the edge calls."""
LEFT_OUT = frozenset({"certifi"})
"""botocore uses certifi's certificate authorities if it is installed, and has its own list otherwise."""

_PROGRAM = """
import json, sys, sysconfig
root, services = sys.argv[1], sys.argv[2:]
before = set(sys.modules)
sys.path.insert(0, root)
import edge
from chalicelib.aws import clients
for service in services:
    clients.make(service, "us-east-1")
site_packages = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
own, third_party = set(), set()
for name in set(sys.modules) - before:
    file = getattr(sys.modules[name], "__file__", None) or ""
    if any(file.startswith(folder) for folder in site_packages):
        third_party.add(name.partition(".")[0])
    elif file.startswith(root):
        own.add(file.removeprefix(root).lstrip("/"))
print(json.dumps({"own": sorted(own), "third_party": sorted(third_party)}))
"""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The modules that are imported, the standard library excepted.

    own_files: of this repository, relative to its root
    distributions: by top-level module, the third-party distribution that has it
    versions: by distribution, the installed version
    """

    own_files: tuple[str, ...]
    distributions: Mapping[str, str]
    versions: Mapping[str, str]


def find_dependencies() -> Dependencies:
    """Import the edge and create its AWS clients, as a cold start does, and return what that imported."""
    command = [sys.executable, "-I", "-c", _PROGRAM, str(ROOT), *SERVICES]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)  # noqa: S603  our own program
    found = json.loads(done.stdout)
    installed = importlib.metadata.packages_distributions()
    distributions = {top: installed[top][0] for top in found["third_party"] if top not in LEFT_OUT}
    versions = {name: importlib.metadata.version(name) for name in distributions.values()}
    return Dependencies(tuple(found["own"]), distributions, versions)
