from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.cloudformation import resolved
from tests.contracts import tables_template
from tests.contracts.tables_template import TABLE, create_table_parameters, template

RESOURCES: Mapping[str, Any] = template()["Resources"]
TABLES = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == TABLE}

every_table = pytest.mark.parametrize("properties", TABLES.values(), ids=TABLES)


def _keys(schema: list[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(key["AttributeName"], key["KeyType"]) for key in schema]


def _references(value: object) -> set[str]:
    """Return every name that a value refers to."""
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    if "Ref" in value:
        return {value["Ref"]}
    if "Fn::GetAtt" in value:
        return {value["Fn::GetAtt"][0]}
    return _references(list(value.values()))


def test_one_key_and_three_tables() -> None:
    """The template is plain CloudFormation with one key and three tables."""
    assert template()["AWSTemplateFormatVersion"] == "2010-09-09"
    assert "Transform" not in template()
    assert {name: one["Type"] for name, one in RESOURCES.items()} == {
        "Key": "AWS::KMS::Key",
        "Control": TABLE,
        "Counters": TABLE,
        "Ledger": TABLE,
    }


def test_nothing_has_to_be_chosen_to_deploy_it() -> None:
    warm = dict.fromkeys(("ControlReads", "CountersWrites", "LedgerWrites"), 0)
    defaults = {name: one["Default"] for name, one in template()["Parameters"].items()}
    assert defaults == {"Prefix": "keybroker", **warm}


def test_a_table_can_be_warmed() -> None:
    """A table is warm for what was asked, and otherwise for what AWS gives it: a number of ours would once lower that."""
    asked = {"ControlReads": 40000, "CountersWrites": 20000, "LedgerWrites": 8000}
    kinds = ("ReadUnitsPerSecond", "WriteUnitsPerSecond", "WriteUnitsPerSecond")
    warmed = resolved(template(), **asked)
    found = [warmed[name]["Properties"]["WarmThroughput"] for name in TABLES]
    assert found == [{kind: units} for kind, units in zip(kinds, asked.values(), strict=True)]
    assert not any("WarmThroughput" in resolved(template())[name]["Properties"] for name in TABLES)


def test_the_tables_are_named_by_the_prefix() -> None:
    assert {name: one["TableName"] for name, one in TABLES.items()} == {
        "Control": {"Fn::Sub": "${Prefix}-control"},
        "Counters": {"Fn::Sub": "${Prefix}-counters"},
        "Ledger": {"Fn::Sub": "${Prefix}-ledger"},
    }


@pytest.mark.parametrize("name", RESOURCES)
def test_everything_outlives_the_stack(name: str) -> None:
    """Every resource is retained when the stack is deleted or the resource replaced."""
    assert (RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"]) == ("Retain", "Retain")


@pytest.mark.parametrize("name", RESOURCES)
def test_everything_says_what_it_belongs_to(name: str) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in RESOURCES[name]["Properties"]["Tags"]}
    assert tags == {"application": "keybroker", "deployment": {"Ref": "Prefix"}}


@every_table
class TestTable:
    """What holds for each of the three."""

    def test_it_is_on_demand(self, properties: Mapping[str, Any]) -> None:
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        assert "ProvisionedThroughput" not in properties

    def test_it_can_be_restored_to_any_second(self, properties: Mapping[str, Any]) -> None:
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}

    def test_it_is_protected_from_deletion(self, properties: Mapping[str, Any]) -> None:
        assert properties["DeletionProtectionEnabled"] is True

    def test_it_is_encrypted_under_our_key(self, properties: Mapping[str, Any]) -> None:
        ours = {"Fn::GetAtt": ["Key", "Arn"]}
        assert properties["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": ours}

    def test_items_expire_by_one_attribute(self, properties: Mapping[str, Any]) -> None:
        assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}

    def test_its_keys_are_pk_and_sk(self, properties: Mapping[str, Any]) -> None:
        assert _keys(properties["KeySchema"]) == [("pk", "HASH"), ("sk", "RANGE")]

    def test_key_attributes_are_strings(self, properties: Mapping[str, Any]) -> None:
        """Every key attribute is a string, and no other attribute is declared."""
        schemas = [properties["KeySchema"], *(one["KeySchema"] for one in properties.get("GlobalSecondaryIndexes", []))]
        used = {name for schema in schemas for name, _ in _keys(schema)}
        declared = {one["AttributeName"]: one["AttributeType"] for one in properties["AttributeDefinitions"]}
        assert declared == dict.fromkeys(used, "S")

    def test_what_tests_create_has_its_layout(self, properties: Mapping[str, Any]) -> None:
        created = create_table_parameters(properties, "kb")
        assert created["TableName"].startswith("kb-")
        assert {name: properties[name] for name in created if name != "TableName"} == {
            name: value for name, value in created.items() if name != "TableName"
        }
        indexed = {"GlobalSecondaryIndexes"} & set(properties)
        assert set(created) == {"TableName", "BillingMode", "AttributeDefinitions", "KeySchema"} | indexed


def test_only_the_ledger_has_an_index() -> None:
    """Only the ledger has an index, which projects keys only."""
    indexes = {name: one.get("GlobalSecondaryIndexes", []) for name, one in TABLES.items()}
    assert {name for name, found in indexes.items() if found} == {"Ledger"}
    [index] = indexes["Ledger"]
    assert (index["IndexName"], index["Projection"]) == ("by_day", {"ProjectionType": "KEYS_ONLY"})
    assert _keys(index["KeySchema"]) == [("listed", "HASH"), ("place", "RANGE")]
    assert not any("LocalSecondaryIndexes" in one for one in TABLES.values())


def test_the_key_rotates_and_can_be_kept_for_a_month() -> None:
    key = RESOURCES["Key"]["Properties"]
    assert (key["EnableKeyRotation"], key["PendingWindowInDays"]) == (True, 30)
    assert "KeySpec" not in key  # a symmetric one, which is all that DynamoDB takes


def test_the_account_says_who_may_use_the_key() -> None:
    [statement] = RESOURCES["Key"]["Properties"]["KeyPolicy"]["Statement"]
    assert statement["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Allow", "kms:*", "*")


def test_outputs_name_every_resource() -> None:
    """The outputs name every resource, and nothing is exported."""
    outputs = template()["Outputs"]
    assert set(outputs) == {f"{name}{what}" for name in TABLES for what in ("Name", "Arn")} | {"KeyArn"}
    for name in TABLES:
        assert outputs[f"{name}Name"]["Value"] == {"Ref": name}
        assert outputs[f"{name}Arn"]["Value"] == {"Fn::GetAtt": [name, "Arn"]}
    assert outputs["KeyArn"]["Value"] == {"Fn::GetAtt": ["Key", "Arn"]}
    assert not any("Export" in one for one in outputs.values())


def test_nothing_refers_to_what_is_not_there() -> None:
    assert _references(dict(template())) == {*template()["Parameters"], "AWS::NoValue", *RESOURCES}


def test_tables_are_found_by_prefix() -> None:
    """A deployment's tables are found by its prefix."""
    assert set(tables_template.tables()) == {"control", "counters", "ledger"}
