"""The product's AWS requests as IAM sees them: actions, resources and condition keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.iam_policy import Context

_OF_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


@dataclass(frozen=True)
class IamRequest:
    """An action. on: a table's name, with `/index/…` where it is an index; a secret's name; a key's ARN."""

    action: str
    on: str
    keys: tuple[str, ...] = ()
    algorithm: str = ""

    def conditions(self) -> Context:
        """Return the condition keys that IAM would see."""
        found: dict[str, Sequence[str]] = {}
        if self.keys:
            found["dynamodb:LeadingKeys"] = self.keys
        if self.algorithm:
            found["kms:SigningAlgorithm"] = [self.algorithm]
        return found


def iam_requests(service: str, operation: str, parameters: Mapping[str, Any]) -> Iterator[IamRequest]:
    """Yield what a request takes. A transaction is no action of its own, but all that is in it."""
    if service == "kms":
        yield IamRequest(f"kms:{operation}", parameters["KeyId"], algorithm=parameters.get("SigningAlgorithm", ""))
    elif service == "secretsmanager":
        yield IamRequest(f"secretsmanager:{operation}", parameters.get("SecretId") or parameters["Name"])
    elif operation == "BatchGetItem":
        for table, wanted in parameters["RequestItems"].items():
            yield IamRequest("dynamodb:BatchGetItem", table, tuple(sorted({key["pk"]["S"] for key in wanted["Keys"]})))
    elif operation == "TransactWriteItems":
        for item in parameters["TransactItems"]:
            ((kind, one),) = item.items()
            yield _single(_OF_TRANSACTIONS[kind], one)
    else:
        yield _single(operation, parameters)


def _single(action: str, one: Mapping[str, Any]) -> IamRequest:
    table = one["TableName"]
    if action == "Query":
        (key,) = (value["S"] for name, value in one["ExpressionAttributeValues"].items() if name in (":pk", ":day"))
        index = f"/index/{one['IndexName']}" if "IndexName" in one else ""
        return IamRequest("dynamodb:Query", f"{table}{index}", (key,))
    item = one["Item"] if action == "PutItem" else one["Key"]
    return IamRequest(f"dynamodb:{action}", table, (item["pk"]["S"],))
