"""Reads CloudFormation templates for tests: intrinsic functions in their long form, resolved for given parameters."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.contracts.tables_template import _Loader

ROOT = Path(__file__).resolve().parent.parent
INFRA = ROOT / "infra"
Template = Mapping[str, Any]
ACCOUNT = "123456789012"
REGION = "eu-central-1"
PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
_NOTHING = object()


@functools.cache
def template(name: str) -> Template:
    """Return infra/<name>.yaml; of a door, merged into what Chalice writes of app.py, without its requirements."""
    return merged(name) if name in ("public", "admin") else read(INFRA / f"{name}.yaml")


def read(path: Path) -> Template:
    """Read a template."""
    found: Template = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506  a SafeLoader
    return found


def merged(door: str) -> Template:
    """Run `chalice package --merge-template` on a copy of the project, which without requirements takes no network."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        for folder in ("chalicelib", ".chalice", "infra"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "deploy*"))
        shutil.copy(ROOT / "app.py", copy)
        (copy / "requirements.txt").write_text("")
        command = [sys.executable, "-c", "from chalice import cli; cli.main()", "package", "--stage", door]
        done = subprocess.run(
            [*command, "--merge-template", f"infra/{door}.yaml", str(Path(name) / "out")],
            cwd=copy,
            env={**os.environ, "AWS_DEFAULT_REGION": REGION, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return read(Path(name) / "out" / "sam.yaml")


def resolved(found: Template, **parameters: Any) -> Template:  # noqa: ANN401  texts, and lists of them
    """Return a template's resources as CloudFormation would make them. What is not given has its default."""
    values = {name: one.get("Default", f"<{name}>") for name, one in found.get("Parameters", {}).items()}
    for name, one in found.get("Parameters", {}).items():
        if one["Type"] == "CommaDelimitedList" and isinstance(values[name], str):
            values[name] = values[name].split(",")
    values |= PSEUDO | parameters
    known = _Conditions(found.get("Conditions", {}), values)
    kept = {name: one for name, one in found["Resources"].items() if "Condition" not in one or known[one["Condition"]]}
    resources: Template = _value(kept, values, known)
    return resources


class _Conditions(dict[str, bool]):
    """The conditions of a template, each found when it is asked for: one may name another."""

    def __init__(self, written: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        super().__init__()
        self._written, self._values = written, values

    def __missing__(self, name: str) -> bool:
        return self.setdefault(name, _value(self._written[name], self._values, self))


def _value(value: Any, values: Mapping[str, Any], known: Mapping[str, bool]) -> Any:  # noqa: ANN401  any part of one
    again = functools.partial(_value, values=values, known=known)
    if isinstance(value, list):
        return [one for one in map(again, value) if one is not _NOTHING]
    if not isinstance(value, Mapping):
        return value
    functions: Mapping[str, Callable[[Any], Any]] = {
        "Ref": lambda name: _NOTHING if name == "AWS::NoValue" else values.get(name, f"<{name}>"),
        "Fn::Sub": lambda text: re.sub(
            r"\$\{([^}]+)\}", lambda found: str(values.get(found[1], f"<{found[1]}>")), text
        ),
        "Fn::GetAtt": lambda path: f"<{'.'.join(path)}>",
        "Fn::If": lambda choice: again(choice[1] if known[choice[0]] else choice[2]),
        "Fn::Equals": lambda two: again(two[0]) == again(two[1]),
        "Fn::And": lambda all_of: all(map(again, all_of)),
        "Fn::Or": lambda any_of: any(map(again, any_of)),
        "Condition": known.__getitem__,
        "Fn::Not": lambda one: not again(one[0]),
        "Fn::Join": lambda parts: parts[0].join(again(parts[1])),
    }
    function = next(iter(value)) if len(value) == 1 else ""
    if function == "Condition" and not isinstance(value[function], str):
        function = ""  # of a policy's statement
    if function in functions and not (function == "Fn::Sub" and isinstance(value[function], list)):
        return functions[function](value[function])
    return {name: found for name, one in value.items() if (found := again(one)) is not _NOTHING}
