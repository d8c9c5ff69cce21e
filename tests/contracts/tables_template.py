"""infra/tables.yaml as tests read it. The tables' layout is written there, and nowhere else."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chalicelib.aws.dynamodb import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PATH = Path(__file__).resolve().parents[2] / "infra" / "tables.yaml"
TABLE = "AWS::DynamoDB::Table"

Properties = Mapping[str, Any]
"""What a template says of one resource."""

_LAYOUT = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
"""What a template and CreateTable call by the same names."""


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions as their long ones: `!Ref X` as `{Ref: X}`."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> Mapping[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        text = str(loader.construct_scalar(node))
        return {"Ref": text} if suffix == "Ref" else {f"Fn::{suffix}": text.split(".") if suffix == "GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {f"Fn::{suffix}": loader.construct_sequence(node, deep=True)}
    raise yaml.constructor.ConstructorError(None, None, f"!{suffix} of a mapping is no function", node.start_mark)


_Loader.add_multi_constructor("!", _long_form)


@functools.cache
def template() -> Mapping[str, Any]:
    """Return the template, every function in its long form."""
    read: Mapping[str, Any] = yaml.load(PATH.read_text("utf-8"), _Loader)  # noqa: S506  a SafeLoader
    return read


def tables() -> Mapping[str, Properties]:
    """Return what the template says of each table, by the table's name without the prefix."""
    resources = [one for one in template()["Resources"].values() if one["Type"] == TABLE]
    return {table_name(one["Properties"], "").removeprefix("-"): one["Properties"] for one in resources}


def table_name(properties: Properties, prefix: str) -> str:
    """Return a table's name in a deployment of this prefix."""
    return str(properties["TableName"]["Fn::Sub"]).replace("${Prefix}", prefix)


def create_table_parameters(properties: Properties, prefix: str) -> dict[str, Any]:
    """Return what CreateTable takes to make a table of the same layout.

    Without the key and the protection from deletion, since a test throws its tables away; and without TTL, which is no
    part of CreateTable, and must not take items whose time is a test's own.
    """
    layout = {name: properties[name] for name in _LAYOUT if name in properties}
    return {"TableName": table_name(properties, prefix), **layout}


def create_tables(client: DynamoDBClient, prefix: str) -> Tables:
    """Make the three tables."""
    for properties in tables().values():
        client.create_table(**create_table_parameters(properties, prefix))
    return named(client, prefix)


def named(client: DynamoDBClient, prefix: str) -> Tables:
    """Return the three tables of a deployment, which need not exist yet."""
    names = {name: table_name(properties, prefix) for name, properties in tables().items()}
    return Tables(client, **names)
