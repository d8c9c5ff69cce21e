"""What the edge function imports: found by importing it in an interpreter of its own, not by a list to be kept."""

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
"""Whose clients the edge makes."""
LEFT_OUT = frozenset({"certifi"})
"""botocore takes its list of certificate authorities if it is there, and has one of its own."""

_PROGRAM = """
import json, sys, sysconfig
root, services = sys.argv[1], sys.argv[2:]
before = set(sys.modules)
sys.path.insert(0, root)
import edge
from chalicelib.aws import clients
for service in services:
    clients.make(service, "us-east-1")
places = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
ours, others = set(), set()
for name in set(sys.modules) - before:
    file = getattr(sys.modules[name], "__file__", None) or ""
    if any(file.startswith(place) for place in places):
        others.add(name.partition(".")[0])
    elif file.startswith(root):
        ours.add(file.removeprefix(root).lstrip("/"))
print(json.dumps({"ours": sorted(ours), "others": sorted(others)}))
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """ours: files, from the root on. others: top-level name of a third party's module -> its distribution.

    pins: distribution -> the version that is installed here.
    """

    ours: tuple[str, ...]
    others: Mapping[str, str]
    pins: Mapping[str, str]


def imported() -> Imported:
    """Import the edge and make its clients, as a cold start does; return what that took, beside the standard library."""
    command = [sys.executable, "-I", "-c", _PROGRAM, str(ROOT), *SERVICES]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)  # noqa: S603  our own program
    found = json.loads(done.stdout)
    brought_by = importlib.metadata.packages_distributions()
    others = {top: brought_by[top][0] for top in found["others"] if top not in LEFT_OUT}
    return Imported(tuple(found["ours"]), others, {one: importlib.metadata.version(one) for one in others.values()})
