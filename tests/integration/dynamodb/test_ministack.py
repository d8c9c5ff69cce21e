"""What every test over ministack rests on: it is DynamoDB enough, and infra/tables.yaml can be deployed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.aws.dynamodb import Tables, cancelled, code, make_client
from tests.integration import ministack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = {"pk": {"S": "calls#ci#one"}, "sk": {"S": "day#0"}}


def _count(tables: Tables, **condition: Any) -> int:  # noqa: ANN401  more parameters of UpdateItem
    values = {":one": {"N": "1"}, **condition.pop("values", {})}
    answer = tables.client.update_item(
        TableName=tables.counters,
        Key=KEY,
        UpdateExpression="ADD d :one",
        ExpressionAttributeValues=values,
        ReturnValues="UPDATED_NEW",
        **condition,
    )
    return int(answer["Attributes"]["d"]["N"])


class TestDeployment:
    """infra/tables.yaml, deployed through CloudFormation."""

    def test_items_expire_by_the_template_s_attribute(self, deployed: Tables) -> None:
        for name in (deployed.control, deployed.counters, deployed.ledger):
            described = deployed.client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}

    def test_the_tables_are_protected_and_on_demand(self, deployed: Tables) -> None:
        for name in (deployed.control, deployed.counters, deployed.ledger):
            described = deployed.client.describe_table(TableName=name)["Table"]
            assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
            with pytest.raises(ClientError, match="protected against deletion"):
                deployed.client.delete_table(TableName=name)

    def test_the_index_holds_the_keys_of_what_is_listed_and_nothing_else(self, deployed: Tables) -> None:
        item = {"pk": {"S": "lock#1"}, "sk": {"S": "-"}, "place": {"S": "0001"}, "event": {"S": "{}"}}
        deployed.client.put_item(TableName=deployed.ledger, Item={**item, "listed": {"S": "2026-11-24"}})
        deployed.client.put_item(TableName=deployed.ledger, Item={**item, "pk": {"S": "lock#2"}})
        found = deployed.client.query(
            TableName=deployed.ledger,
            IndexName="by_day",
            KeyConditionExpression="listed = :day AND place > :place",
            ExpressionAttributeValues={":day": {"S": "2026-11-24"}, ":place": {"S": "0000"}},
        )["Items"]
        assert found == [
            {"pk": {"S": "lock#1"}, "sk": {"S": "-"}, "listed": {"S": "2026-11-24"}, "place": {"S": "0001"}}
        ]

    def test_the_tables_that_tests_make_have_the_same_layout(self, deployed: Tables, tables: Tables) -> None:
        def layout(name: str) -> dict[str, Any]:
            described: Any = deployed.client.describe_table(TableName=name)["Table"]
            indexes = {one["IndexName"]: (one["KeySchema"], one["Projection"]) for one in _indexes(described)}
            return {"keys": described["KeySchema"], "attributes": described["AttributeDefinitions"], "indexes": indexes}

        assert layout(tables.control) == layout(deployed.control)
        assert layout(tables.counters) == layout(deployed.counters)
        assert layout(tables.ledger) == layout(deployed.ledger)

    def test_taking_the_stack_away_leaves_the_tables_and_their_key(self, endpoint: str) -> None:
        tables = ministack.deployed_tables(endpoint, "gone")
        stacks, keys = ministack.client("cloudformation", endpoint), ministack.client("kms", endpoint)
        outputs = {one["OutputKey"]: one["OutputValue"] for one in _outputs(stacks, "gone")}
        assert outputs["LedgerName"] == tables.ledger
        assert keys.get_key_rotation_status(KeyId=outputs["KeyArn"])["KeyRotationEnabled"] is True
        stacks.delete_stack(StackName="gone")
        stacks.get_waiter("stack_delete_complete").wait(StackName="gone", WaiterConfig={"Delay": 0.1})
        assert keys.describe_key(KeyId=outputs["KeyArn"])["KeyMetadata"]["KeyState"] == "Enabled"
        for name in (tables.control, tables.counters, tables.ledger):
            assert tables.client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"


def _indexes(described: Any) -> Any:  # noqa: ANN401  as DescribeTable has it
    return described.get("GlobalSecondaryIndexes", [])


def _outputs(stacks: Any, name: str) -> Any:  # noqa: ANN401  as CloudFormation has it
    return stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]


class TestCounters:
    """Additions from many threads."""

    def test_64_threads_that_add_to_one_item_lose_nothing_and_no_two_get_one_number(self, tables: Tables) -> None:
        with ThreadPoolExecutor(64) as threads:
            numbers = list(threads.map(lambda _: _count(tables), range(640)))
        assert sorted(numbers) == list(range(1, 641))

    def test_64_threads_never_get_beyond_a_condition(self, tables: Tables) -> None:
        def count_within(_: int) -> bool:
            condition = "attribute_not_exists(d) OR d < :most"
            try:
                _count(tables, ConditionExpression=condition, values={":most": {"N": "100"}})
            except ClientError as error:
                if code(error) != "ConditionalCheckFailedException":
                    raise
                return False
            return True

        with ThreadPoolExecutor(64) as threads:
            assert sum(threads.map(count_within, range(320))) == 100


class TestConditions:
    """A condition that fails says what was there."""

    def test_a_failed_condition_of_an_update_returns_the_old_item(self, tables: Tables) -> None:
        _count(tables)
        with pytest.raises(ClientError) as caught:
            _count(
                tables, ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD"
            )
        assert code(caught.value) == "ConditionalCheckFailedException"
        response: Any = caught.value.response
        assert response["Item"] == {**KEY, "d": {"N": "1"}}

    def test_failed_transaction_condition_writes_nothing(self, tables: Tables) -> None:
        """A condition that fails in a transaction returns the old item, and nothing is written."""
        lock = {"pk": {"S": "lock#1"}, "sk": {"S": "-"}, "claims": {"S": "first"}}
        tables.client.put_item(TableName=tables.ledger, Item=lock)
        event = {"pk": {"S": "audit#1"}, "sk": {"S": "-"}}
        with pytest.raises(ClientError) as caught:
            tables.client.transact_write_items(
                TransactItems=[
                    {
                        "Put": {
                            "TableName": tables.ledger,
                            "Item": {**lock, "claims": {"S": "second"}},
                            "ConditionExpression": "attribute_not_exists(pk)",
                            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                        }
                    },
                    {"Put": {"TableName": tables.ledger, "Item": event}},
                ]
            )
        failed, other = cancelled(caught.value)
        assert (failed["Code"], failed["Item"], other["Code"]) == ("ConditionalCheckFailed", lock, "None")
        assert tables.client.scan(TableName=tables.ledger, ConsistentRead=True)["Items"] == [lock]


def test_consistent_batch_read_sees_the_write(endpoint: str, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strongly consistent batch read by the product's client sees the write before it."""
    for name, value in ministack.CREDENTIALS.items():
        monkeypatch.setenv(name.upper(), value)
    reader = make_client(ministack.REGION, endpoint)
    for number in range(50):
        item = {"pk": {"S": f"grant#{number}"}, "sk": {"S": "0"}, "epoch": {"N": str(number)}}
        tables.client.put_item(TableName=tables.control, Item=item)
        keys = [{"pk": item["pk"], "sk": item["sk"]}, {"pk": {"S": "grant#none"}, "sk": {"S": "0"}}]
        answer = reader.batch_get_item(RequestItems={tables.control: {"Keys": keys, "ConsistentRead": True}})
        assert (answer["Responses"], answer["UnprocessedKeys"]) == ({tables.control: [item]}, {})


def test_the_tables_of_a_test_go_with_it(dynamodb: DynamoDBClient) -> None:
    before = set(dynamodb.list_tables()["TableNames"])
    with ministack.fresh_tables(dynamodb) as tables:
        made = set(dynamodb.list_tables()["TableNames"]) - before
        assert made == {tables.control, tables.counters, tables.ledger}
    assert set(dynamodb.list_tables()["TableNames"]) == before
