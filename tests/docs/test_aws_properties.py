"""docs/aws-properties.md has every property that a template sets, and every request to AWS, and no others."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session

from tests.cloudformation import template
from tests.running import ROOT

PAGE = (ROOT / "docs" / "aws-properties.md").read_text(encoding="utf-8")
TEMPLATES = sorted(path.stem for path in (ROOT / "infra").glob("*.yaml"))
WHOLE = frozenset(
    "AssumeRolePolicyDocument DefinitionBody EventPattern KeyPolicy PolicyDocument Tags Variables".split()  # noqa: SIM905  a list of words
)
"""Properties that hold a document or names of ours: there is no page for what is in them."""
CLIENTS = ("dynamodb", "firehose", "kms", "lambda", "s3", "secretsmanager", "sts")
"""The services that the functions call."""
OURS = frozenset({"kms:Encrypt"})
"""What is called by such a name and is no request: AES-GCM encrypts here."""
OPERATION = re.compile(r"[a-z]+(?:-[a-z]+)+|deploy|package|sign|wait")
"""How `aws` spells operations: with a hyphen, but for these."""


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:  # noqa: ANN401  any part of a template
    """Yield the dotted name of each property that is set, in either branch of a condition."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, path)
    elif isinstance(value, Mapping) and value:
        function = next(iter(value))
        if function == "Fn::If":
            yield from paths(value[function][1:], path)
        elif function == "Ref" or function.startswith("Fn::"):
            if value != {"Ref": "AWS::NoValue"}:
                yield ".".join(path)
        else:
            for name, one in value.items():
                yield from [".".join((*path, name))] if name in WHOLE else paths(one, (*path, name))
    else:
        yield ".".join(path)


def properties() -> set[tuple[str, str]]:
    """Return each kind of resource with each of its properties that some template sets."""
    resources = [one for name in TEMPLATES for one in template(name)["Resources"].values()]
    return {(one["Type"], path) for one in resources for path in paths(one["Properties"])}


def documented() -> list[tuple[str, str]]:
    found = []
    for section in re.split(r"^### ", PAGE.partition("\n## Properties")[2].partition("\n## ")[0], flags=re.MULTILINE)[
        1:
    ]:
        (kind,) = re.findall(r"^`(AWS::[\w:]+)`", section)
        rows = re.findall(r"^\| `([\w.-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)
        unrestricted = re.search(r"^No restriction: ((?:`[\w.-]+`\s)+)", section, re.MULTILINE)
        rows += re.findall(r"`([\w.-]+)`", unrestricted[1]) if unrestricted else []
        found += [(kind, one) for one in rows]
    return found


def sources(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_bytes()))


def requested() -> set[str]:
    """Return what the functions ask, by botocore's method or by the operation's name."""
    session: Any = botocore.session.get_session()
    operations = {
        name: f"{service}:{operation}"
        for service in CLIENTS
        for operation in session.get_service_model(service).operation_names
        for name in (operation, botocore.xform_name(operation))
    }
    nodes = list(sources("chalicelib/aws"))
    called = {one.func.attr for one in nodes if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)}
    named = {one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {operations[one] for one in (called | named) & operations.keys()} - OURS


def commands() -> set[str]:
    """Return what is asked by `aws`: a service and an operation side by side."""
    session: Any = botocore.session.get_session()
    services = {*session.get_available_services(), "s3api"}
    found = set()
    for node in sources("infra"):
        words = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple | ast.List) else []
        said = [one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else "" for one in words]
        for service, operation in itertools.pairwise(said):
            if service in services and OPERATION.fullmatch(operation):
                found.add(f"{service} {operation}")
    return found


def test_every_property_is_on_the_page() -> None:
    """Each property that a template sets is a row with AWS's page, or said to have no restriction; once."""
    assert len(documented()) == len(set(documented()))
    assert properties() == set(documented())


def test_every_request_is_on_the_page() -> None:
    """Each request of the functions and of the commands is a row, and no other is."""
    rows = re.findall(r"^\| `([a-z0-9]+[: ][\w-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert requested() | commands() == set(rows)


def test_a_new_property_is_noticed() -> None:
    """A property is found in either branch of a condition, in a list, and not inside a policy."""
    found = set(
        paths({"A": {"Fn::If": ["X", {"B": [{"C": 1}]}, {"Ref": "AWS::NoValue"}]}, "KeyPolicy": {"D": 1}, "E": {}})
    )
    assert found == {"A.B.C", "KeyPolicy", "E"}
