"""docs/architecture.md names every cache, and functions that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.running import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CACHES = PAGE.partition("\n## Caches")[2].partition("\n## ")[0]
SOURCES = sorted(
    path for pattern in ("app.py", "edge.py", "chalicelib/**/*.py", "local/**/*.py", "keybroker/**/*.py")
    for path in ROOT.glob(pattern)
)  # fmt: skip
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in SOURCES}
FUNCTOOLS = {"cache", "lru_cache", "cached_property"}


def caches(text: str) -> bool:
    """Whether a module uses one of functools' caches."""
    if "functools" not in text:
        return False
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "functools":
            if FUNCTOOLS & {alias.name for alias in node.names}:
                return True
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "functools" and node.attr in FUNCTOOLS:
            return True
    return False


@pytest.mark.parametrize("file", [file for file, text in TEXTS.items() if caches(text)])
def test_every_cache_is_named(file: str) -> None:
    """Every file of the product that caches by functools is named in the table of caches, with the reason it is safe."""
    assert f"`{file}`" in CACHES


def test_functions_exist() -> None:
    """Every function that the sequence diagrams call is defined in the broker."""
    diagrams = "".join(re.findall(r"^```mermaid\nsequenceDiagram\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL))
    called = set(re.findall(r"\b([a-z_]+)\(", diagrams))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    trees = map(ast.parse, TEXTS.values())
    defined = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, functions)}
    assert len(called) > 15
    assert called - defined == set()
