"""An `aws` that answers as an account does in which nothing is deployed yet and nothing is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from infra.aws_cli import AwsCli, AwsCommandError
from infra.stage import Stage

PROD = Stage("prod", "eu-central-1")
ACCOUNT = "111122223333"
ABSENT = "An error occurred (ValidationError) when calling the DescribeStacks operation: Stack does not exist"
NO_BUCKET = "An error occurred (404) when calling the HeadBucket operation: Not Found"
NOT_FOUND = "An error occurred (ResourceNotFoundException) when calling the operation: not found"
DENIED = "An error occurred (AccessDeniedException) when calling the operation: no identity-based policy allows it"
TRAIL = f"arn:aws:cloudtrail:eu-central-1:{ACCOUNT}:trail/all"
ANSWERS: Mapping[str, Any] = {
    "sts get-caller-identity": {"Account": ACCOUNT},
    "ec2 describe-regions": {"Regions": [{"RegionName": "eu-central-1", "OptInStatus": "opt-in-not-required"}]},
    "cloudformation describe-stacks": ABSENT,
    "s3api head-bucket": NO_BUCKET,
    "dynamodb describe-table": NOT_FOUND,
    "lambda get-function-configuration": NOT_FOUND,
    "lambda get-account-settings": {
        "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}
    },
    "apigateway get-account": {},
    "cloudtrail describe-trails": {"trailList": [{"IsMultiRegionTrail": True, "TrailARN": TRAIL}]},
    "cloudtrail get-trail-status": {"IsLogging": True},
}
READING = ("get-", "describe-", "head-")


class Answering(AwsCli):
    """answers: by service and operation, or these and a word of the arguments; a text is an error. asked: every command."""

    def __init__(self, said: str = "aws-cli/2.31.0 Python/3.13.7", **answers: Any) -> None:  # noqa: ANN401  any JSON, or an error
        super().__init__()
        self._said = said
        self._answers = {**ANSWERS, **{name.replace("__", " ").replace("_", "-"): one for name, one in answers.items()}}
        self.asked: list[Sequence[str]] = []

    def version(self) -> str:
        return self._said

    def _done(self, arguments: Sequence[str]) -> str:
        self.asked.append(arguments)
        operation = f"{arguments[0]} {arguments[1]}"
        more = [name for name in self._answers if name.startswith(f"{operation} ") and name.split()[2] in arguments]
        answer = self._answers[more[0] if more else operation]
        if isinstance(answer, str):
            raise AwsCommandError(answer)
        return json.dumps(answer)


def stack(status: str) -> Mapping[str, Any]:
    return {"Stacks": [{"StackStatus": status}]}
