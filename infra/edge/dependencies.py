"""What the edge function imports, at its start or late, found in its source and by importing it rather than from a list."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import importlib, json, sys, sysconfig
root, modules = sys.argv[1], sys.argv[2].split()
before = set(sys.modules)
sys.path.insert(0, root)
for name in modules:
    importlib.import_module(name)
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
    """Import everything that the edge can import, and return what that imported."""
    command = [sys.executable, "-I", "-c", _PROGRAM, str(ROOT), " ".join(sorted(reachable("edge")))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)  # noqa: S603  our own program
    found = json.loads(done.stdout)
    installed = importlib.metadata.packages_distributions()
    distributions = {top: installed[top][0] for top in found["third_party"]}
    versions = {name: importlib.metadata.version(name) for name in distributions.values()}
    return Dependencies(tuple(found["own"]), distributions, versions)


def reachable(start: str, root: Path = ROOT) -> set[str]:
    """Return our own modules that a module can import, at its start or late: in a function, say."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found and (source := _source(name, root)):
            found.add(name)
            waiting += [name.rpartition(".")[0], *_imports(ast.parse(source.read_bytes()))]
    return found


def _source(name: str, root: Path) -> Path | None:
    """Return our own module's file, None for a module of another or for what is no module."""
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if name and file.is_file()), None)


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield what code can import, anywhere in it but for type checkers only. A name that is imported may be a module."""
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level or not node.module:
            raise ValueError("a relative import")  # the house has none
        yield from (node.module, *(f"{node.module}.{one.name}" for one in node.names))
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in node.orelse if for_types else ast.iter_child_nodes(node):  # type: ignore[attr-defined]  # an If has it
        yield from _imports(child)
